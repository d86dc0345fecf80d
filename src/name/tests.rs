use super::NameForm;

/// Texts that a form accepts, and texts that it refuses.
const FORMS: [(NameForm, &[&str], &[&str]); 10] = [
    (
        NameForm::DnsLabel,
        &["a", "prod-engineering", "1a"],
        &["", "-a", "a-", "A", "a.b", "a b", "a\n", "a'"],
    ),
    (
        NameForm::DnsSubdomain,
        &["a", "a.b-c.d"],
        &["", ".a", "a..b", "a.-b", "a_b", "a\"b"],
    ),
    (
        NameForm::PolicyName,
        &["allow-web", "default.allow-web", "knp.default.a.b.c"],
        &[
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
        &["allow-web", "default.allow-web"],
        &["a.b.c", "knp.default.a", "", "-a"],
    ),
    (
        NameForm::LabelKey,
        &["app", "app.kubernetes.io/name", "A_b.c"],
        &["", "/a", "a/", "a/b/c", "a b", "é"],
    ),
    (
        NameForm::LabelValue,
        &["", "v1.2_x", "A"],
        &["-a", "a b", "a\""],
    ),
    (
        NameForm::PortName,
        &["http", "http-8080", "a"],
        &[
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
        &["v1", "apps/v1", "batch.x-k8s.io/v1beta1"],
        &["", "/v1", "apps/", "V1", "1", "a/b/c", "v1\n", "@a/v1"],
    ),
    (
        NameForm::Kind,
        &["Pod", "ReplicaSet", "x-Y9"],
        &["", "=Pod", "Pod ", "9P", "P-", "Pod\u{1b}", "@org"],
    ),
    (
        NameForm::OwnerName,
        &["web-1", "n1.example", "system:node", "Role_x"],
        &[
            "",
            "a b",
            "a/b",
            ".",
            "x\u{1b}",
            "-a",
            "@org",
            "a\n::error::",
        ],
    ),
];

#[test]
fn forms_accept_and_refuse() {
    for (form, good, bad) in FORMS {
        good.iter()
            .for_each(|text| assert!(form.fits(text), "{form:?} {text:?}"));
        bad.iter()
            .for_each(|text| assert!(!form.fits(text), "{form:?} {text:?}"));
    }

    let (long, endless) = ("a".repeat(64), "a".repeat(254));
    assert!(NameForm::GlobalPolicyName.fits(&long));
    for form in [NameForm::DnsLabel, NameForm::LabelValue, NameForm::Kind] {
        assert!(!form.fits(&long), "{form:?}");
    }
    for form in [NameForm::GlobalPolicyName, NameForm::OwnerName] {
        assert!(!form.fits(&endless), "{form:?}");
    }
}

/// Every name that passes can be printed anywhere, so no form accepts other characters in any
/// position.
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
