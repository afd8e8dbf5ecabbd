//! The functions an expression may call, and finding the one that was meant.

/// How a function is called.
pub(super) struct Signature {
    pub name: &'static str,
    /// Numbers of arguments as `name(..)`.
    global: &'static [usize],
    /// Numbers of arguments as `value.name(..)`.
    member: &'static [usize],
    /// How it looks, for messages.
    pub usage: &'static str,
}

impl Signature {
    /// Whether it may be called so.
    pub fn accepts(&self, on_a_value: bool, arguments: usize) -> bool {
        let counts = if on_a_value { self.member } else { self.global };
        counts.contains(&arguments)
    }
}

const fn function(
    name: &'static str,
    global: &'static [usize],
    member: &'static [usize],
    usage: &'static str,
) -> Signature {
    Signature { name, global, member, usage }
}

/// CEL's own, ours, and the macros, which the parser replaces when they are called rightly.
const SIGNATURES: &[Signature] = &[
    function("decimal", &[1], &[], "decimal(event.price)"),
    function("toMap", &[], &[3], "event.stats.toMap(s, s.name, s.value)"),
    function("size", &[1], &[0], "size(event.items)"),
    function("contains", &[], &[1], "event.name.contains(\"x\")"),
    function("startsWith", &[], &[1], "event.name.startsWith(\"x\")"),
    function("endsWith", &[], &[1], "event.name.endsWith(\"x\")"),
    function("matches", &[2], &[1], "event.name.matches(\"^x+$\")"),
    function("string", &[1], &[], "string(event.id)"),
    function("int", &[1], &[], "int(event.text)"),
    function("uint", &[1], &[], "uint(event.text)"),
    function("double", &[1], &[], "double(event.text)"),
    function("bytes", &[1], &[], "bytes(event.text)"),
    function("bool", &[1], &[], "bool(event.text)"),
    function("dyn", &[1], &[], "dyn(event.x)"),
    function("type", &[1], &[], "type(event.x) == int"),
    function("timestamp", &[1], &[], "timestamp(event.created_at)"),
    function("duration", &[1], &[], "duration(\"90s\")"),
    function("getFullYear", &[], &[0, 1], "timestamp(event.at).getFullYear()"),
    function("getMonth", &[], &[0, 1], "timestamp(event.at).getMonth()"),
    function("getDate", &[], &[0, 1], "timestamp(event.at).getDate()"),
    function("getDayOfMonth", &[], &[0, 1], "timestamp(event.at).getDayOfMonth()"),
    function("getDayOfWeek", &[], &[0, 1], "timestamp(event.at).getDayOfWeek()"),
    function("getDayOfYear", &[], &[0, 1], "timestamp(event.at).getDayOfYear()"),
    function("getHours", &[], &[0, 1], "timestamp(event.at).getHours()"),
    function("getMinutes", &[], &[0, 1], "timestamp(event.at).getMinutes()"),
    function("getSeconds", &[], &[0, 1], "timestamp(event.at).getSeconds()"),
    function("getMilliseconds", &[], &[0, 1], "timestamp(event.at).getMilliseconds()"),
    function("has", &[], &[], "has(event.field)"),
    function("all", &[], &[], "event.items.all(i, i.price > 0)"),
    function("exists", &[], &[], "event.items.exists(i, i.price > 0)"),
    function("exists_one", &[], &[], "event.items.exists_one(i, i.price > 0)"),
    function("map", &[], &[], "event.items.map(i, i.price)"),
    function("filter", &[], &[], "event.items.filter(i, i.price > 0)"),
];

/// The names of CEL's types, which stand for themselves in `type(x) == int`.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The function of that name.
pub(super) fn named(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

/// What to do about a name that no function has.
pub(super) fn unknown_fix(name: &str) -> String {
    // Names of other languages whose spelling is too far away to be guessed.
    let known = match name.to_ascii_lowercase().as_str() {
        "len" | "length" | "count" => Some("size"),
        "str" | "tostring" | "text" => Some("string"),
        "float" | "number" => Some("double"),
        "numeric" | "money" => Some("decimal"),
        "year" => Some("getFullYear"),
        "includes" => Some("contains"),
        _ => nearest(name, SIGNATURES.iter().map(|signature| signature.name)),
    };
    match known.and_then(named) {
        Some(signature) => format!("did you mean `{}`, as in `{}`?", signature.name, signature.usage),
        None => format!(
            "the functions are {}",
            SIGNATURES.iter().map(|signature| signature.name).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The candidate that is spelt most alike, if one is near enough to have been meant.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= name.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// The text with the content of its closed quotes taken out; a quote that is left isn't closed.
pub(super) fn outside_quotes(text: &str) -> String {
    let mut outside = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"']) {
        let quote = rest.as_bytes()[at] as char;
        outside.push_str(&rest[..at]);
        let Some(end) = rest[at + 1..].find(quote) else {
            outside.push_str(&rest[at..]);
            return outside;
        };
        rest = &rest[at + 1 + end + 1..];
    }
    outside.push_str(rest);
    outside
}
