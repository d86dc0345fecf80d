use super::NameForm;

#[test]
fn forms_accept_and_refuse() {
    let long = "a".repeat(64);
    let endless = "a".repeat(254);
    let cases = [
        (
            NameForm::DnsLabel,
            vec!["a", "prod-engineering", "1a"],
            vec![
                "",
                "-a",
                "a-",
                "A",
                "a.b",
                "a b",
                "a\n",
                "a'",
                long.as_str(),
            ],
        ),
        (
            NameForm::DnsSubdomain,
            vec!["a", "a.b-c.d"],
            vec!["", ".a", "a..b", "a.-b", "a_b", "a\"b"],
        ),
        (
            NameForm::PolicyName,
            vec!["allow-web", "default.allow-web", "knp.default.a.b.c"],
            vec![
                "a.b.c",
                "",
                "Allow",
                "allow web",
                "knp.default.",
                "x\ny",
                ".a",
                "a.",
            ],
        ),
        (
            NameForm::GlobalPolicyName,
            vec!["allow-web", "default.allow-web", long.as_str()],
            vec!["a.b.c", "knp.default.a", "", "-a", endless.as_str()],
        ),
        (
            NameForm::LabelKey,
            vec!["app", "app.kubernetes.io/name", "A_b.c"],
            vec!["", "/a", "a/", "a/b/c", "a b", "é"],
        ),
        (
            NameForm::LabelValue,
            vec!["", "v1.2_x", "A"],
            vec!["-a", "a b", "a\"", long.as_str()],
        ),
        (
            NameForm::PortName,
            vec!["http", "http-8080", "a"],
            vec![
                "",
                "8080",
                "http--x",
                "Http",
                "http_x",
                "a-very-long-port-name",
            ],
        ),
        (
            NameForm::ApiVersion,
            vec!["v1", "apps/v1", "batch.x-k8s.io/v1beta1"],
            vec!["", "/v1", "apps/", "V1", "1", "a/b/c", "v1\n", "@a/v1"],
        ),
        (
            NameForm::Kind,
            vec!["Pod", "ReplicaSet", "x-Y9"],
            vec![
                "",
                "=Pod",
                "Pod ",
                "9P",
                "P-",
                "Pod\u{1b}",
                "@org",
                long.as_str(),
            ],
        ),
        (
            NameForm::OwnerName,
            vec!["web-1", "n1.example", "system:node", "Role_x"],
            vec![
                "",
                "a b",
                "a/b",
                ".",
                "x\u{1b}",
                "-a",
                "@org",
                "a\n::error::",
                endless.as_str(),
            ],
        ),
    ];

    for (form, good, bad) in cases {
        good.iter()
            .for_each(|text| assert!(form.fits(text), "{form:?} {text:?}"));
        bad.iter()
            .for_each(|text| assert!(!form.fits(text), "{form:?} {text:?}"));
    }
}

/// What has a form can be printed anywhere, so no form takes a character of another sort, wherever
/// it is.
#[test]
fn no_form_takes_a_character_that_steers() {
    const GOOD: [(NameForm, &str); 10] = [
        (NameForm::DnsLabel, "prod"),
        (NameForm::DnsSubdomain, "a.prod"),
        (NameForm::PolicyName, "knp.default.a"),
        (NameForm::GlobalPolicyName, "a.prod"),
        (NameForm::LabelKey, "example.com/app"),
        (NameForm::LabelValue, "v1.2"),
        (NameForm::PortName, "http"),
        (NameForm::ApiVersion, "apps/v1"),
        (NameForm::Kind, "Pod"),
        (NameForm::OwnerName, "web-1"),
    ];

    let is_known = |letter: &char| letter.is_ascii_alphanumeric() || "-_./:".contains(*letter);
    let others = ('\0'..='\u{3000}').chain(['\u{feff}', '\u{ff1d}', '\u{e0041}', '\u{fffe}']);
    for letter in others.filter(|letter| !is_known(letter)) {
        for (form, good) in GOOD {
            assert!(form.fits(good), "{form:?} {good}");
            for at in 0..=good.len() {
                let (before, behind) = good.split_at(at);
                let bad = format!("{before}{letter}{behind}");
                assert!(!form.fits(&bad), "{form:?} {bad:?}");
            }
        }
    }
}
