use schemas::ObjectUrl;

use tokio::time::Instant;

use super::process::began;
use super::*;
use crate::store::Stores;

fn runs(stores: &Stores) -> Place {
    stores.place(&ObjectUrl::new("memory:///runs/r")).expect("place")
}

#[tokio::test]
async fn every_start_has_a_number_of_its_own() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let first = Start::take(&runs, 1, &record).await.expect("first");
    let second = Start::take(&runs, 1, &record).await.expect("second");
    assert_eq!(
        (first.attempt(), second.attempt(), second.worker()),
        (1, 2, "w0002")
    );
    let (third, fourth) = tokio::join!(Start::take(&runs, 1, &record), Start::take(&runs, 1, &record));
    let mut both = [third.expect("third").attempt(), fourth.expect("fourth").attempt()];
    both.sort_unstable();
    assert_eq!(both, [3, 4]);
    let later = Start::take(&runs, 9, &record).await.expect("later");
    assert_eq!(later.attempt(), 9);
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_the_earlier_stays() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let first = Start::take(&runs, 1, &record).await.expect("first");
    let second = Start::take(&runs, 1, &record).await.expect("second");
    let beat = first.beat(Box::new(Map::new));
    let error = second.alone(&runs).await.expect_err("the first lives");
    assert!(matches!(error, StartError::Busy(Busy { worker, .. }) if worker == "w0001"));
    first.alone(&runs).await.expect("nobody is earlier");
    beat.end().await;
    let silent = Instant::now();
    second.alone(&runs).await.expect("no sign of life any more");
    assert!(silent.elapsed() >= DEAD_AFTER);
    let again = Instant::now();
    second.alone(&runs).await.expect("known to be dead");
    assert!(again.elapsed().is_zero(), "nobody is waited for twice");
    first.keep(State::Ended, &record).await.expect("keep");
    second.alone(&runs).await.expect("it said that it ended");
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_of_this_machine_is_not_waited_for() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let Some(own) = Process::own() else { return };
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("a child");
    let mut first = Start::take(&runs, 1, &record).await.expect("first");
    first.process = Some(Process {
        pid: child.id(),
        began: began(child.id()).expect("it lives"),
        ..own
    });
    first.keep(State::Running, &record).await.expect("keep");
    let second = Start::take(&runs, 1, &record).await.expect("second");
    assert!(second.alone(&runs).await.is_err(), "the child lives");
    child.kill().and_then(|()| child.wait()).expect("killed");
    let asked = Instant::now();
    second.alone(&runs).await.expect("killed");
    assert!(asked.elapsed().is_zero(), "no sign of life was waited for");
}

fn shard(text: &str) -> Shard {
    text.parse().expect("a shard")
}

#[tokio::test(start_paused = true)]
async fn starts_of_different_shards_live_side_by_side_and_nobody_is_waited_for() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let asked = Instant::now();
    for text in ["0/3", "1/3", "2/3"] {
        let start = Start::take_shard(&runs, 1, shard(text), &record)
            .await
            .expect(text);
        start.alone(&runs).await.expect("the others do other cases");
    }
    assert!(asked.elapsed().is_zero());
    assert_eq!(at_work(&runs).await.expect("listed"), ["w0001", "w0002", "w0003"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_starts_that_share_cases_the_later_leaves_and_says_which_shards() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let first = Start::take_shard(&runs, 1, shard("1/3"), &record)
        .await
        .expect("first");
    let beat = first.beat(Box::new(Map::new));
    let told = async |own: Shard| {
        let start = Start::take_shard(&runs, 1, own, &record).await.expect("start");
        let error = start.alone(&runs).await.expect_err("the first lives");
        start.keep(State::Stopped, &record).await.expect("keep");
        error.to_string()
    };
    let same = told(shard("1/3")).await;
    assert!(
        same.contains("shard 1/3 of this run, found w0001 at work on shard 1/3"),
        "{same}"
    );
    let of_other_count = told(shard("1/4")).await;
    assert!(of_other_count.contains("shard 1/4 of this run, found w0001 at work on shard 1/3"));
    let whole = told(Shard::WHOLE).await;
    assert!(
        whole.contains("on this run, found w0001 at work on shard 1/3"),
        "{whole}"
    );
    beat.end().await;
    first.keep(State::Ended, &record).await.expect("keep");

    let whole = Start::take(&runs, 1, &record).await.expect("whole");
    let beat = whole.beat(Box::new(Map::new));
    let left = told(shard("0/3")).await;
    assert!(
        left.contains("shard 0/3 of this run, found w0005 at work on all of it"),
        "{left}"
    );
    beat.end().await;
}

#[tokio::test]
async fn the_record_says_the_shard_and_records_without_one_are_of_every_case() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    Start::take_shard(&runs, 1, shard("2/8"), &record)
        .await
        .expect("first");
    Start::take(&runs, 1, &record).await.expect("second");
    let mut shards = Vec::new();
    for number in [1, 2] {
        let other = Other::running(&runs, number)
            .await
            .expect("read")
            .expect("at work");
        shards.push((other.record.get("shard").cloned(), other.sign.shard));
    }
    assert_eq!(
        shards,
        [(Some(Value::from("2/8")), shard("2/8")), (None, Shard::WHOLE)]
    );
}

#[tokio::test(start_paused = true)]
async fn starts_that_share_a_queue_live_side_by_side_and_others_leave() {
    let (stores, record) = (Stores::default(), Map::new());
    let runs = runs(&stores);
    let first = Start::take_beside(&runs, 1, &record).await.expect("first");
    let beat = first.beat(Box::new(Map::new));
    let second = Start::take_beside(&runs, 1, &record).await.expect("second");
    let asked = Instant::now();
    second.alone(&runs).await.expect("the queue keeps them apart");
    assert!(asked.elapsed().is_zero(), "nobody is waited for");

    let whole = Start::take(&runs, 1, &record).await.expect("whole");
    assert!(whole.alone(&runs).await.is_err(), "it would do every case");
    whole.keep(State::Stopped, &record).await.expect("keep");
    let of_shard = Start::take_shard(&runs, 1, shard("0/2"), &record)
        .await
        .expect("shard");
    assert!(
        of_shard.alone(&runs).await.is_err(),
        "half of its cases are in the queue"
    );
    let beat_of_shard = of_shard.beat(Box::new(Map::new));
    let third = Start::take_beside(&runs, 1, &record).await.expect("third");
    assert!(third.alone(&runs).await.is_err(), "a shard is at work");
    beat_of_shard.end().await;
    beat.end().await;
}
