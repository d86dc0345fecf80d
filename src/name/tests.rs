use super::Form;

#[test]
fn forms_accept_and_refuse() {
    let long = "a".repeat(64);
    let endless = "a".repeat(254);
    let cases = [
        (Form::DnsLabel, vec!["a", "prod-engineering", "1a"], vec!["", "-a", "a-", "A", "a.b", "a b", "a\n", "a'", long.as_str()]),
        (Form::DnsSubdomain, vec!["a", "a.b-c.d"], vec!["", ".a", "a..b", "a.-b", "a_b", "a\"b"]),
        (
            Form::PolicyName,
            vec!["allow-web", "default.allow-web", "knp.default.a.b.c"],
            vec!["a.b.c", "", "Allow", "allow web", "knp.default.", "x\ny", ".a", "a."],
        ),
        (
            Form::GlobalPolicyName,
            vec!["allow-web", "default.allow-web", long.as_str()],
            vec!["a.b.c", "knp.default.a", "", "-a", endless.as_str()],
        ),
        (Form::LabelKey, vec!["app", "app.kubernetes.io/name", "A_b.c"], vec!["", "/a", "a/", "a/b/c", "a b", "é"]),
        (Form::LabelValue, vec!["", "v1.2_x", "A"], vec!["-a", "a b", "a\"", long.as_str()]),
        (Form::PortName, vec!["http", "http-8080", "a"], vec!["", "8080", "http--x", "Http", "http_x", "a-very-long-port-name"]),
    ];
    for (form, good, bad) in cases {
        good.iter().for_each(|text| assert!(form.fits(text), "{form:?} {text:?}"));
        bad.iter().for_each(|text| assert!(!form.fits(text), "{form:?} {text:?}"));
    }
}
