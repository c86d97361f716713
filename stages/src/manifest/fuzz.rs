//! Manifests of any text and any bytes: each record has its outcome, and no outcome repeats what stands in a record.

use std::collections::HashSet;

use arrow_array::{RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fuzz::{NAME, drawn, harmed, harms};
use crate::store::Stores;

/// Most outcomes that are read of one manifest: a damaged count of rows may be any number.
const OUTCOMES_MOST: usize = 20_000;

/// Cells as people and machines write them, sound or not; hostile ones hold [`NAME`].
fn cell() -> impl Strategy<Value = String> {
    let known = [
        "",
        "a1",
        "A1",
        "case-2",
        "verse",
        "classes",
        "binary:L3",
        "m.nii.gz",
    ];
    let hostile = [
        "..",
        "../",
        "%2e%2e/",
        "/",
        "a/b\\",
        "\u{0}",
        "\n",
        "\"",
        "\"\"\"",
        ",",
        "CON",
        "row-3",
        "binary:",
        "s3://",
        "file:///",
        "memory:///",
        "ftp://",
        "http://h/?",
        "http://[",
        "://",
        "#",
        "?",
        "\u{feff}",
        "ÄÖ",
        "\u{202e}",
        "\r\n",
        "\t",
        "{",
        "=cmd|",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        2 => "[a-z0-9]{1,6}",
        2 => prop::sample::select(hostile.to_vec()).prop_map(|text| format!("{text}{NAME}")),
        1 => prop::sample::select(hostile.to_vec()).prop_map(|text| format!("{NAME}{text}")),
        2 => any::<String>().prop_map(|text| format!("{text}{NAME}{text}")),
        1 => Just(NAME.repeat(1300)),
    ]
}

/// Rows of a manifest with every column that is read, and one more.
fn rows() -> impl Strategy<Value = Vec<Vec<String>>> {
    vec(vec(cell(), COLUMNS.len() + 1), 0..12)
}

fn header() -> Vec<&'static str> {
    let mut header = COLUMNS.to_vec();
    header.insert(2, "PatientName");
    header
}

fn context() -> Context {
    Context {
        base: Url::parse("s3://cohort/2026/").expect("url"),
        labels: BTreeMap::new(),
        seed: 7,
    }
}

fn csv_of(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header()).expect("in memory");
    for row in rows {
        writer.write_record(row).expect("in memory");
    }
    writer.into_inner().expect("in memory")
}

fn json_of(rows: &[Vec<String>]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        let object: serde_json::Map<String, serde_json::Value> = header()
            .into_iter()
            .zip(row)
            .map(|(name, cell)| (name.to_owned(), cell.clone().into()))
            .collect();
        serde_json::to_writer(&mut text, &object).expect("in memory");
        text.push(b'\n');
    }
    text
}

fn parquet_of(rows: &[Vec<String>]) -> Vec<u8> {
    let columns = header().into_iter().enumerate().map(|(index, name)| {
        let cells: StringArray = rows.iter().map(|row| Some(row[index].as_str())).collect();
        (name, Arc::new(cells) as _)
    });
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("in memory");
    writer.write(&batch).expect("in memory");
    writer.into_inner().expect("in memory")
}

/// Reads a manifest to its end and checks what holds of every one: how many outcomes there are, and what each says.
fn outcomes(name: &str, bytes: &[u8]) -> Result<usize, String> {
    let manifest = Manifest::of_bytes(name, bytes, context());
    let cases = manifest.read().map_err(|error| told(&error.to_string()))?;
    let mut ids = HashSet::new();
    let mut count = 0;
    for outcome in cases.take(OUTCOMES_MOST) {
        let outcome = outcome.map_err(|error| told(&error.to_string()))?;
        count += 1;
        let id = match &outcome {
            Ok(case) => {
                told(&format!(
                    "{:?} {:?} {:?}",
                    case.body.mask, case.body.reference, case.body.image
                ));
                assert!(case.id.as_str().parse::<CaseId>() == Ok(case.id.clone()));
                let place = Stores::default().place(&case.body.mask.url);
                told(
                    &place
                        .map_err(StoreError::into_fault)
                        .map_or_else(|fault| fault.to_string(), |_| String::new()),
                );
                case.id.clone()
            }
            Err(failure) => {
                told(&failure.fault.message);
                assert_eq!(failure.stage, NAME_OF_STAGE);
                let of_row = failure.id == CaseId::of_row(count);
                assert!(
                    of_row || failure.id.as_str().parse() == Ok(failure.id.clone()),
                    "{:?}",
                    failure.id
                );
                failure.id.clone()
            }
        };
        assert!(ids.insert(id.folded()), "{id} twice");
    }
    Ok(count)
}

const NAME_OF_STAGE: &str = super::NAME;

/// Checks that a message repeats nothing, and returns it. Ids are not asked: harm can make a sound one of a name.
fn told(text: &str) -> String {
    assert!(!text.contains("JANE"), "{text}");
    text.to_owned()
}

proptest! {
    #![proptest_config(drawn(150))]

    #[test]
    fn a_manifest_of_any_cells_has_an_outcome_a_row(rows in rows()) {
        prop_assert_eq!(outcomes("m.csv", &csv_of(&rows)), Ok(rows.len()));
        prop_assert_eq!(outcomes("m.jsonl", &json_of(&rows)), Ok(rows.len()));
        prop_assert_eq!(outcomes("m.parquet", &parquet_of(&rows)), Ok(rows.len()));
    }

    #[test]
    fn a_damaged_csv_has_an_outcome_a_record(rows in rows(), harms in harms()) {
        let bytes = harmed(&csv_of(&rows), &harms);
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
        let records = reader.byte_records().count();
        if let Ok(count) = outcomes("m.csv", &bytes) {
            prop_assert_eq!(count, records);
        }
    }

    #[test]
    fn a_damaged_json_has_an_outcome_a_line(rows in rows(), harms in harms()) {
        let bytes = harmed(&json_of(&rows), &harms);
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count();
        prop_assert_eq!(outcomes("m.jsonl", &bytes), Ok(lines));
    }

    #[test]
    fn a_damaged_parquet_is_read_or_refused(rows in rows(), harms in harms()) {
        let _ = outcomes("m.parquet", &harmed(&parquet_of(&rows), &harms));
    }

    #[test]
    fn bytes_of_no_sense_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        for name in ["m.csv", "m.jsonl", "m.parquet"] {
            let _ = outcomes(name, &bytes);
            let mut csv = b"case_id,mask,labels\n".to_vec();
            csv.extend(&bytes);
            let _ = outcomes(name, &csv);
            let mut parquet = b"PAR1".to_vec();
            parquet.extend(&bytes);
            parquet.extend((bytes.len() as u32).to_le_bytes());
            parquet.extend(b"PAR1");
            let _ = outcomes(name, &parquet);
        }
    }

    #[test]
    fn a_label_scheme_comes_back_by_its_name(
        name in cell(),
        own in prop::collection::btree_map(cell(), prop::collection::btree_map(any::<u16>(), prop::sample::select(schemas::Level::ALL.to_vec()), 0..6), 0..4),
    ) {
        match LabelScheme::named(&name, &own) {
            Ok(scheme) => {
                prop_assert_eq!(LabelScheme::named(&scheme.to_string(), &own), Ok(scheme.clone()));
                prop_assert!(scheme.table().len() <= 6 || own.contains_key(&name));
            }
            Err(message) => {
                let listed = own.keys().any(|own| own.contains("JANE"));
                prop_assert!(listed || !message.contains("JANE"), "{}", message);
            }
        }
    }
}
