use std::net::IpAddr;

use super::with_route;

fn check(addresses: &[&str], routed: fn(IpAddr) -> bool, expected: Option<&[&str]>) {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<IpAddr>>();
    assert_eq!(with_route(parse(addresses), routed), expected.map(parse));
}

#[test]
fn addresses_without_a_route_are_left_out_where_there_are_others() {
    check(&["1.1.1.1", "2606:4700::1111"], |address| address.is_ipv4(), Some(&["1.1.1.1"]));
    check(&["1.1.1.1", "2606:4700::1111"], |_| true, Some(&["1.1.1.1", "2606:4700::1111"]));
}

#[test]
fn without_any_route_nothing_is_left() {
    check(&["1.1.1.1", "2606:4700::1111"], |_| false, None);
    check(&[], |_| true, None);
}

#[test]
fn addresses_of_one_family_are_left_to_the_connection() {
    check(&["1.1.1.1", "1.0.0.1"], |_| false, Some(&["1.1.1.1", "1.0.0.1"]));
}

#[test]
fn this_machine_has_a_route_to_itself() {
    assert!(super::has_route(IpAddr::from([127, 0, 0, 1])));
}
