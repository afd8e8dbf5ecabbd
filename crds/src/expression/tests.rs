use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn path(text: &str) -> Path {
    let mut parts = text.split('.').map(str::to_owned);
    Path { root: parts.next().unwrap(), fields: parts.collect() }
}

fn names(references: &[Reference]) -> Vec<&str> {
    references.iter().map(|reference| reference.name.as_str()).collect()
}

#[test]
fn a_path_is_a_path() {
    assert_eq!(parse("event.customer.id").form(), &Form::Path(path("event.customer.id")));
    assert_eq!(parse("topic").form(), &Form::Path(path("topic")));
    assert_eq!(parse(" event ").form(), &Form::Path(path("event")));
}

#[test]
fn literals_are_literals_negative_ones_too() {
    for (text, expected) in [
        ("42", Literal::Int(42)),
        ("-42", Literal::Int(-42)),
        ("-4.5", Literal::Double(-4.5)),
        ("'a b'", Literal::Text("a b".to_owned())),
        ("true", Literal::Bool(true)),
        ("null", Literal::Null),
    ] {
        assert_eq!(parse(text).form(), &Form::Literal(expected), "{text}");
    }
}

#[test]
fn comparisons_with_literals_are_native() {
    let expected = Predicate::And(
        Box::new(Predicate::Compare(
            path("event.status"),
            Comparison::NotEqual,
            Literal::Text("failed".to_owned()),
        )),
        Box::new(Predicate::Not(Box::new(Predicate::Or(
            Box::new(Predicate::Compare(path("event.total"), Comparison::Greater, Literal::Int(10))),
            Box::new(Predicate::Truth(path("event.test"))),
        )))),
    );
    let parsed = parse("event.status != \"failed\" && !(10 < event.total || event.test)");
    assert_eq!(parsed.form(), &Form::Predicate(expected));
    assert_eq!(
        parse("op in ['c', 'u']").form(),
        &Form::Predicate(Predicate::In(
            path("op"),
            vec![Literal::Text("c".to_owned()), Literal::Text("u".to_owned())]
        ))
    );
}

#[test]
fn everything_else_is_for_the_interpreter() {
    for text in [
        "decimal(event.price) * event.quantity",
        "event.a == event.b",
        "event.items[0].price",
        "has(event.x)",
        "event.name.startsWith('a') && event.x == 1",
        "event.x in event.list",
    ] {
        assert_eq!(parse(text).form(), &Form::General, "{text}");
    }
}

#[test]
fn it_knows_what_it_refers_to_but_not_what_its_macros_bind() {
    let parsed = parse(
        "event.items.exists(i, decimal(i.price) > limit) && size(product.tags) > 0 && type(key) == int",
    );
    assert_eq!(names(parsed.variables()), ["event", "limit", "product", "key"]);
    assert_eq!(names(parsed.functions()), ["decimal", "size", "type"]);
    assert_eq!(parsed.variables()[1].column, 42);
    assert!(parsed.calls("decimal"));
    let stats = parse("event.stats.toMap(s, s.stat, s.value)");
    assert_eq!(names(stats.variables()), ["event"]);
}

#[test]
fn a_variable_that_is_not_there_is_told_with_what_was_meant() {
    let scope = Scope { variables: &["event", "key", "topic"] };
    let messages = |text: &str| parse(text).check(&scope).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(messages("event.a == key"), Vec::<String>::new());
    assert_eq!(
        messages("evnt.status == \"x\""),
        ["there is no variable `evnt` here (at character 1); did you mean `event`?"]
    );
    assert_eq!(
        messages("event.a > 1 && status == paid"),
        [
            "there is no variable `status` here (at character 16); a field of the record is `event.status`, a text is \
             `\"status\"`; the variables here are `event`, `key`, `topic`",
            "there is no variable `paid` here (at character 26); a field of the record is `event.paid`, a text is \
             `\"paid\"`; the variables here are `event`, `key`, `topic`",
        ]
    );
    assert_eq!(
        messages("event.a == None"),
        ["there is no variable `None` here (at character 12); write `null`"]
    );
}

#[test]
fn a_function_that_is_not_there_is_told_with_what_was_meant() {
    for (text, message) in [
        (
            "decmal(event.price)",
            "there is no function `decmal` (at character 7); did you mean `decimal`, as in",
        ),
        (
            "event.name.startswith('a')",
            "there is no function `startswith` (at character 22); did you mean `startsWith`",
        ),
        ("len(event.items)", "there is no function `len` (at character 4); did you mean `size`"),
        ("frobnicate(1)", "there is no function `frobnicate` (at character 11); the functions are decimal"),
        (
            "decimal(1, 2)",
            "`decimal` can't be called like this (at character 8); write it as in `decimal(event.price)`",
        ),
        ("startsWith(event.a, 'b')", "`startsWith` can't be called like this"),
        ("event.items.map(i)", "`map` can't be called like this"),
    ] {
        let error = Expression::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn a_text_that_does_not_parse_is_told_where_and_what_to_write() {
    for (text, column, fix) in [
        ("", 1, "write a path like `event.id`"),
        ("event.status = \"x\"", 14, "compare with `==`"),
        ("event.a == 1 and event.b == 2", 14, "join conditions with `&&`"),
        ("event.a == 1 OR event.b == 2", 14, "join conditions with `||`"),
        ("event.a == \"x", 12, "a text isn't closed"),
        ("event.a <> 1", 10, "compare with `!=`"),
        ("event.a ==", 11, "expressions are CEL"),
        ("(event.a", 9, "expressions are CEL"),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.fix.starts_with(fix), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~é\n]{0,40}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn no_mix_of_words_makes_the_parser_panic(words in prop::collection::vec(
        prop::sample::select(vec!["event", ".", "a", "(", ")", "[", "]", "==", "&&", "!", "-", "1", "'x'", ",", "?", ":", "in", "{", "}", "\"", "map", "has"]), 0..14)
    ) {
        let _ = Expression::parse(&words.concat());
        let _ = Expression::parse(&words.join(" "));
    }
}
