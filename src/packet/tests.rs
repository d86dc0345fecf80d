use crate::packet::endpoint_pattern::EndpointPattern;

#[test]
fn subjects_print_as_they_are_written() {
    for text in [
        "one/pod",
        "one/Deployment/web",
        "one/sa:web",
        "10.0.0.1",
        "10.0.0.0/8",
        "fd00::/64",
        "::/0",
        "fd00::1",
    ] {
        assert_eq!(text.parse::<EndpointPattern>().unwrap().to_string(), text);
    }

    for text in [
        "",
        "pod",
        "one/",
        "/pod",
        "one/sa:",
        "a/b/c/d",
        "10.0.0.1/8",
        "fd00::1/64",
    ] {
        assert!(text.parse::<EndpointPattern>().is_err(), "{text}");
    }
}
