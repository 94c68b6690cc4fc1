use std::{future::pending, net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep};

use super::{BoxError, first_of, in_turn};

const STEP: Duration = Duration::from_millis(250);

/// What one address does.
#[derive(Clone, Copy)]
enum Does {
    Answers(u64),
    Fails(u64),
    Nothing,
}

async fn attempt(number: usize, does: Does) -> Result<usize, BoxError> {
    match does {
        Does::Answers(after) => sleep(Duration::from_millis(after)).await,
        Does::Fails(after) => {
            sleep(Duration::from_millis(after)).await;
            return Err(format!("{number} failed").into());
        }
        Does::Nothing => pending().await,
    }
    Ok(number)
}

async fn check(does: &[Does], expected: Option<Result<usize, &str>>, after_ms: u128) {
    let began = Instant::now();
    let attempts: Vec<_> = does.iter().enumerate().map(|(number, does)| attempt(number, *does)).collect();
    let first = first_of(attempts.into_iter(), STEP).await;
    let first = first.map(|first| first.map_err(|error| error.to_string()));
    assert_eq!(first, expected.map(|expected| expected.map_err(str::to_owned)));
    assert_eq!(began.elapsed().as_millis(), after_ms);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_do_not_answer_cost_a_moment_each() {
    use Does::{Answers, Fails, Nothing};
    check(&[Answers(20), Answers(1)], Some(Ok(0)), 20).await;
    check(&[Nothing, Nothing, Answers(20)], Some(Ok(2)), 520).await;
    check(&[Fails(10), Answers(20)], Some(Ok(1)), 30).await;
    check(&[Nothing, Fails(10), Answers(20)], Some(Ok(2)), 280).await;
    // One that is slow is not given up for the next.
    check(&[Answers(300), Nothing], Some(Ok(0)), 300).await;
    check(&[Fails(400), Fails(10)], Some(Err("0 failed")), 400).await;
    check(&[], None, 0).await;
}

#[test]
fn families_take_turns_beginning_with_the_first() {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<IpAddr>>();
    let check = |given: &[&str], expected: &[&str]| assert_eq!(in_turn(parse(given)), parse(expected));
    check(&["::1", "::2", "1.1.1.1", "2.2.2.2"], &["::1", "1.1.1.1", "::2", "2.2.2.2"]);
    check(&["1.1.1.1", "2.2.2.2", "::1"], &["1.1.1.1", "::1", "2.2.2.2"]);
    check(&[], &[]);
}
