use std::collections::BTreeMap;

use super::{Answer, Behaviour, Body};

/// Asks for `target` once for each id, and gives the statuses; 0 is no answer.
fn statuses(target: &str, ids: &[&str]) -> Vec<u16> {
    let mut turns = BTreeMap::<String, usize>::new();
    let mut turn = |counter| {
        let turns = turns.entry(counter).or_default();
        *turns += 1;
        *turns - 1
    };
    let status = |behaviour| match behaviour {
        Behaviour::Answer(Answer { status, .. }) => status,
        Behaviour::Raw(_) | Behaviour::Flood(..) | Behaviour::Hang | Behaviour::Reset | Behaviour::Close => 0,
    };
    ids.iter().map(|id| status(Behaviour::of(target, Some(id), &mut turn))).collect()
}

#[test]
fn a_path_says_its_status() {
    for (target, expected) in
        [("/ok", 200), ("/ok/more?x=1", 200), ("/201", 201), ("/999", 999), ("/what", 404), ("/", 404), ("/hang", 0)]
    {
        assert_eq!(statuses(target, &["a"]), [expected], "{target}");
    }
}

#[test]
fn a_script_goes_on_to_its_last_step_and_stays_there() {
    assert_eq!(statuses("/script?do=/429&do=/hang&do=/ok", &["a"; 5]), [429, 0, 200, 200, 200]);
}

#[test]
fn a_script_is_counted_for_each_id_if_it_says_so() {
    assert_eq!(statuses("/script?do=/503&do=/ok&per=id", &["a", "b", "a", "b"]), [503, 503, 200, 200]);
    assert_eq!(statuses("/script?do=/503&do=/ok", &["a", "b", "a", "b"]), [503, 200, 200, 200]);
}

#[test]
fn a_flapping_path_goes_round() {
    assert_eq!(statuses("/flap?ok=2&fail=1", &["a"; 6]), [200, 200, 503, 200, 200, 503]);
    assert_eq!(statuses("/flap?ok=1&fail=2&first=fail&status=404", &["a"; 4]), [404, 404, 200, 404]);
}

#[test]
fn headers_can_be_added_anywhere() {
    let Behaviour::Answer(answer) = Behaviour::of("/503?header=Retry-After:+7&header=x:1&body=b", None, &mut |_| 0)
    else {
        panic!("no answer")
    };
    assert_eq!(answer.headers, [("Retry-After".to_owned(), "7".to_owned()), ("x".to_owned(), "1".to_owned())]);
    assert_eq!(answer.body, Body::Whole("b".into()));
}
