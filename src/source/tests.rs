use crate::source::{LineColumn, SourceFiles, SpannedString};

fn scalar(source: &str, value: &str) -> (SourceFiles, SpannedString) {
    let mut files = SourceFiles::default();
    let text = format!("key: {source}\n");
    let file = files.add("a.yaml", text).unwrap();
    let span = file.span(5..5 + source.len());
    let text = SpannedString::new(value.to_owned(), span, source);
    (files, text)
}

#[test]
fn inner_offsets_point_into_the_file_where_the_file_spells_the_value_out() {
    let cases = [
        (r#"app == "db""#, r#"app == "db""#, "db"),
        (r#"'app == "db"'"#, r#"app == "db""#, "db"),
        (r#""app == 'db'""#, "app == 'db'", "db"),
    ];
    for (source, value, part) in cases {
        let (files, text) = scalar(source, value);
        let start = value.find(part).unwrap();
        assert_eq!(
            files.slice(text.inner(start..start + part.len())),
            part,
            "{source}"
        );
    }
}

#[test]
fn inner_offsets_fall_back_to_the_whole_scalar() {
    let (files, text) = scalar(r#""app == \"db\"""#, r#"app == "db""#);
    assert_eq!(files.slice(text.inner(8..10)), r#""app == \"db\"""#);
}

#[test]
fn columns_count_characters() {
    let mut files = SourceFiles::default();
    let file = files.add("a", "x\nüé: y\n".to_owned()).unwrap();
    assert_eq!(
        files.position(file.span(8..9)),
        LineColumn { line: 2, column: 5 }
    );
}
