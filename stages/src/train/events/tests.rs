use super::testing::{Scalar, read};
use super::*;

const BEGAN: Duration = Duration::from_millis(1_500_000_000_250);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_checksum_is_that_of_rfc_3720() {
    assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, b"123456789"), 0xe306_9283);
    assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0; 32]), 0x8a91_36aa);
    assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0xff; 32]), 0x62a8_ab43);
}

/// The bytes come from TensorBoard 2.21: its own protobuf classes and `RecordWriter`.
#[test]
fn records_are_byte_for_byte_those_of_tensorboard() {
    assert_eq!(
        hex(&record(&version(BEGAN))),
        "1800000000000000a37f4b2209000010c00b5ad6411a0d627261696e2e4576656e743a32130a0322"
    );
    let scalars = [
        ("autoencoder/dice".to_owned(), 0.5),
        ("autoencoder/gradient".to_owned(), 1.25),
    ];
    assert_eq!(
        hex(&record(&event(BEGAN + seconds(2.25), 300, &scalars))),
        "440000000000000043592e9a090000a0c00b5ad64110ac022a360a170a106175746f656e636f6465722f64696365\
         150000003f0a1b0a146175746f656e636f6465722f6772616469656e74150000a03ff1fe7437"
    );
}

#[test]
fn close_steps_are_left_out_but_for_the_last_of_a_phase() {
    let mut log = EventLog::start(BEGAN, std::iter::empty());
    for step in 1..=10 {
        log.step(
            seconds(step as f64 * 0.5),
            "autoencoder",
            step,
            &[("dice", 1.0 / step as f64)],
        );
    }
    log.step(seconds(5.5), "energy", 1, &[("above", f64::NAN)]);
    log.step(seconds(6.0), "energy", 2, &[("above", 2.0)]);
    let (name, bytes) = log.close(seconds(7.0)).unwrap();
    assert_eq!(name, "events.out.tfevents.1500000000.spinestream.0000");
    let found = read(&bytes);
    let steps: Vec<_> = found
        .iter()
        .map(|scalar| (scalar.tag.as_str(), scalar.step))
        .collect();
    let expected = [1, 5, 9, 10].map(|step| ("autoencoder/dice", step));
    assert_eq!(
        steps,
        [&expected[..], &[("energy/above", 1), ("energy/above", 2)]].concat()
    );
    let first = Scalar {
        wall: 1_500_000_000.75,
        step: 1,
        tag: "autoencoder/dice".to_owned(),
        value: 1.0,
    };
    assert_eq!(found[0], first);
    assert!(found[4].value.is_nan(), "what went wrong is shown, not hidden");
}

#[test]
fn files_follow_one_another_in_the_order_of_their_names() {
    let earlier = ["events.out.tfevents.1500000003.spinestream.0001", "notes.txt"];
    let mut log = EventLog::start(BEGAN, earlier.into_iter());
    let mut files = Vec::new();
    for second in 0..36_000_u64 {
        let at = Duration::from_secs(second);
        log.step(at, "energy", second, &[("above", 1.0)]);
        if log.is_due(at) {
            files.push(log.file(at));
        }
    }
    files.extend(log.close(Duration::from_secs(36_000)));
    assert_eq!(files[0].0, "events.out.tfevents.1500000004.spinestream.0000");
    assert!(files.is_sorted_by(|one, other| one.0 < other.0 && one.0.as_str() > earlier[0]));
    assert!(files.len() < 360, "{} files in ten hours", files.len());
    let scalars: Vec<_> = files.iter().flat_map(|(_, bytes)| read(bytes)).collect();
    assert_eq!(scalars.len(), 18_001);
    assert!(scalars.is_sorted_by_key(|scalar| scalar.step));
}
