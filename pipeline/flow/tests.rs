use std::future::{pending, ready};

use super::*;

struct Odd;

impl Stage for Odd {
    type In = u32;
    type Out = u32;
    const NAME: &'static str = "odd";

    async fn run(&self, input: u32) -> Result<u32, Fault> {
        assert!(input != 4, "four");
        if input.is_multiple_of(2) {
            Err(Fault::unsuitable("even", "even"))
        } else {
            Ok(input * 10)
        }
    }
}

#[derive(Default)]
struct Gather(Vec<(String, Result<u32, &'static str>)>);

impl Sink<u32> for &mut Gather {
    type Error = ();

    async fn accept(&mut self, outcome: Outcome<u32>) -> Result<(), ()> {
        self.0.push(match outcome {
            Ok(case) => (case.id.to_string(), Ok(case.body)),
            Err(failure) => (failure.id.to_string(), Err(failure.fault.reason)),
        });
        Ok(())
    }

    async fn close(self) -> Result<(), ()> {
        Ok(())
    }
}

impl Pending for &mut Gather {
    type Error = ();

    async fn tick(&mut self) -> Result<(), ()> {
        Ok(())
    }

    async fn put_down(&mut self) -> Result<(), ()> {
        Ok(())
    }
}

fn cases(count: u32) -> impl Stream<Item = Outcome<u32>> + Send + 'static {
    let case = |number| {
        Ok(Case {
            id: format!("c{number}").parse().expect("id"),
            person: None,
            body: number,
            spent: Vec::new(),
            held: Held::default(),
        })
    };
    tokio_stream::iter((1..=count).map(case))
}

fn width(count: usize) -> Lane {
    Lane::of(count)
}

#[tokio::test]
async fn one_case_in_is_one_outcome_out_even_if_a_stage_panics() {
    let mut gather = Gather::default();
    let flow = Flow::until(cases(6), pending(), &Gauges::default());
    flow.through(Odd, width(2))
        .into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    gather.0.sort();
    let expected = [
        ("c1", Ok(10)),
        ("c2", Err("even")),
        ("c3", Ok(30)),
        ("c4", Err("panic")),
        ("c5", Ok(50)),
        ("c6", Err("even")),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(id, result)| (id.to_owned(), result))
        .collect();
    assert_eq!(gather.0, expected);
}

#[tokio::test]
async fn a_stopped_flow_takes_no_new_case() {
    let mut gather = Gather::default();
    let flow = Flow::until(cases(1000), ready(()), &Gauges::default());
    flow.through(Odd, width(2))
        .into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    assert!(gather.0.is_empty());
}

#[tokio::test]
async fn a_watch_can_end_the_flow_early() {
    let mut gather = Gather::default();
    let mut seen = 0;
    let flow = Flow::until(cases(1000), pending(), &Gauges::default()).through(Odd, width(1));
    let watch = |_: &Outcome<u32>| {
        seen += 1;
        if seen == 10 { Err(()) } else { Ok(()) }
    };
    assert_eq!(flow.into(&mut gather, watch, pending(), pending()).await, Err(()));
    assert_eq!(gather.0.len(), 10);
}

/// Takes ten seconds for a number above 100.
struct Slow;

impl Stage for Slow {
    type In = u32;
    type Out = u32;
    const NAME: &'static str = "slow";

    async fn run(&self, input: u32) -> Result<u32, Fault> {
        if input > 100 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        Ok(input)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_takes_too_long_fails_its_case_and_no_other() {
    let mut gather = Gather::default();
    let lane = Lane {
        limit: Some(Duration::from_secs(2)),
        ..width(2)
    };
    let flow = Flow::until(cases(103), pending(), &Gauges::default());
    flow.through(Slow, lane)
        .into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    let late = gather
        .0
        .iter()
        .filter(|(_, result)| *result == Err("stage_timeout"));
    assert_eq!((gather.0.len(), late.count()), (103, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_flow_waits_for_its_cases_until_it_is_enough() {
    let mut gather = Gather::default();
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let flow = Flow::until(cases(1000).skip(98), second(), &Gauges::default());
    flow.through(Slow, width(4))
        .into(&mut gather, |_| Ok::<(), ()>(()), second(), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
        })
        .await
        .expect("flow");
    assert_eq!(gather.0.len(), 2, "the slow ones are left for the next start");
}

/// Counts what the cases in hand need, all together, and the most of it that there ever was.
struct Weighty(Arc<std::sync::Mutex<(u64, u64)>>);

/// Bytes that case 7 of [`Weighty`] needs, and every other.
fn need(number: u32) -> u64 {
    if number == 7 { 10 << 10 } else { 4 << 10 }
}

impl Stage for Weighty {
    type In = u32;
    type Out = u32;
    const NAME: &'static str = "weighty";

    async fn run(&self, input: u32) -> Result<u32, Fault> {
        {
            let mut both = self.0.lock().expect("no panic");
            both.0 += need(input);
            both.1 = both.1.max(both.0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.0.lock().expect("no panic").0 -= need(input);
        assert!(input != 9, "nine");
        if input.is_multiple_of(2) {
            return Err(Fault::unsuitable("even", "even"));
        }
        Ok(input)
    }
}

#[tokio::test(start_paused = true)]
async fn cases_wait_for_their_share_of_memory_and_give_it_back() {
    let budget = Budget::new(10 << 10);
    let both = Arc::new(std::sync::Mutex::new((0, 0)));
    let mut gather = Gather::default();
    let flow = Flow::until(cases(50), pending(), &Gauges::default());
    flow.within(&budget, |number| need(*number))
        .through(Weighty(Arc::clone(&both)), width(8))
        .keeping(|_| 0)
        .into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    assert_eq!(gather.0.len(), 50, "the one that needs all of it too");
    // eight may be in hand, but no more than two fit at once; the seventh goes alone
    assert_eq!(*both.lock().expect("no panic"), (0, 10 << 10));
    assert_eq!(
        budget.taken(),
        0,
        "a case that failed or panicked gives back as well"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_goes_on_after_its_time_keeps_its_memory() {
    struct Blocking(Arc<std::sync::Barrier>);

    impl Stage for Blocking {
        type In = u32;
        type Out = u32;
        const NAME: &'static str = "blocking";

        async fn run(&self, input: u32) -> Result<u32, Fault> {
            let barrier = Arc::clone(&self.0);
            let waited = stages::blocking(move || {
                barrier.wait();
                input
            });
            Ok(waited.await)
        }
    }

    let (budget, barrier) = (Budget::new(10 << 10), Arc::new(std::sync::Barrier::new(2)));
    let mut gather = Gather::default();
    let lane = Lane {
        limit: Some(Duration::from_millis(50)),
        ..width(1)
    };
    let flow = Flow::until(cases(1), pending(), &Gauges::default());
    flow.within(&budget, |_| 4 << 10)
        .through(Blocking(Arc::clone(&barrier)), lane)
        .into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    assert_eq!(gather.0, [("c1".to_owned(), Err("stage_timeout"))]);
    assert_eq!(budget.taken(), 4 << 10, "its volumes are still there");
    barrier.wait();
    while budget.taken() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Never puts anything down.
#[derive(Default)]
struct Stuck;

impl Sink<u32> for Stuck {
    type Error = ();

    async fn accept(&mut self, _: Outcome<u32>) -> Result<(), ()> {
        pending().await
    }

    async fn close(self) -> Result<(), ()> {
        pending().await
    }
}

impl Pending for Stuck {
    type Error = ();

    async fn tick(&mut self) -> Result<(), ()> {
        Ok(())
    }

    async fn put_down(&mut self) -> Result<(), ()> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_does_not_outlast_the_deadline() {
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let flow = Flow::until(cases(9), second(), &Gauges::default());
    let put = flow
        .through(Odd, width(1))
        .into(Stuck, |_| Ok::<(), ()>(()), second(), second());
    assert_eq!(put.await, Ok(Put::InPart), "it gives up, and says so");
}

/// Takes a second for any case.
struct Second;

impl Stage for Second {
    type In = u32;
    type Out = u32;
    const NAME: &'static str = "second";

    async fn run(&self, input: u32) -> Result<u32, Fault> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(input)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_widened_on_the_way_takes_more_cases_from_then_on_and_never_more_than_its_most() {
    let start = tokio::time::Instant::now();
    let gauges = Gauges::default();
    let lane = Lane { most: 3, ..width(1) };
    let widening = {
        let gauges = gauges.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            gauges.widen("second", 100);
        }
    };
    tokio::spawn(widening);
    let mut gather = Gather::default();
    let flow = Flow::until(cases(9), pending(), &gauges).through(Second, lane);
    flow.into(&mut gather, |_| Ok::<(), ()>(()), pending(), pending())
        .await
        .expect("flow");
    assert_eq!(gather.0.len(), 9);
    assert_eq!(gauges.read().remove(0).width, 3);
    // three one by one, then six in threes
    assert_eq!(start.elapsed().as_secs(), 5);
}
