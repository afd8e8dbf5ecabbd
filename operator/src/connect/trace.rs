//! Java stack traces: what matters in them are the messages of the causes, the last one most.

/// A trace is cut to this many characters.
pub const MAX_CHARS: usize = 500;

/// The message of each exception in `trace`, outermost first, without stack frames, joined by ` ← `; messages that
/// the next one repeats are left out. Where that is too long, the outer ones go first, as the root cause says most.
pub fn causes(trace: &str) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut in_frames = true;
    for line in trace.lines() {
        if is_frame(line) {
            in_frames = true;
            continue;
        }
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        let cause = text.strip_prefix("Caused by: ");
        match messages.last_mut() {
            // A message may go over several lines; PostgreSQL's `Detail:` and `Hint:` do.
            Some(message) if !in_frames && cause.is_none() => {
                message.push(' ');
                message.push_str(text);
            }
            // A suppressed exception isn't a cause.
            Some(_) if cause.is_none() => {}
            _ => messages.push(without_class(cause.unwrap_or(text)).to_owned()),
        }
        in_frames = false;
    }
    messages.retain(|message| !message.is_empty());
    // `new Foo(cause)` repeats its cause's text as its own message.
    let mut kept: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let repeated = messages.get(index + 1).is_some_and(|next| message.ends_with(next.as_str()));
        if !repeated {
            kept.push(message);
        }
    }
    while kept.len() > 1 && joined_chars(&kept) > MAX_CHARS {
        kept.remove(0);
    }
    cut(&kept.join(SEPARATOR))
}

/// The innermost cause's message.
pub fn root_cause(trace: &str) -> String {
    let all = causes(trace);
    all.rsplit(SEPARATOR).next().unwrap_or_default().to_owned()
}

const SEPARATOR: &str = " ← ";

fn joined_chars(messages: &[&str]) -> usize {
    messages.iter().map(|message| message.chars().count()).sum::<usize>()
        + SEPARATOR.chars().count() * messages.len().saturating_sub(1)
}

/// Debezium puts the state of the connector in the middle of a message, and what is wrong at its end.
fn cut(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_CHARS {
        return text.to_owned();
    }
    let (head, tail) = (MAX_CHARS / 2, MAX_CHARS - MAX_CHARS / 2 - 1);
    text.chars().take(head).chain(std::iter::once('…')).chain(text.chars().skip(count - tail)).collect()
}

fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    text.len() < line.len() && (text.starts_with("at ") || text.starts_with("... "))
}

/// `java.net.ConnectException: refused` → `refused`. A message without a text keeps the class's own name.
fn without_class(message: &str) -> &str {
    let class_end = message.find(": ").unwrap_or(message.len());
    let class = &message[..class_end];
    let is_class = class.contains('.') && !class.contains(' ') && !class.ends_with('.');
    if !is_class {
        return message;
    }
    match message.get(class_end + 2..) {
        Some(text) if !text.trim().is_empty() => text,
        _ => class.rsplit('.').next().unwrap_or(class),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAPPED: &str = "org.apache.kafka.connect.errors.ConnectException: Outer\n\
        \tat a.B.c(B.java:1)\n\
        Caused by: java.sql.SQLException: ERROR: relation \"x\" does not exist\n  Position: 15\n\
        \tat d.E.f(E.java:2)\n\t... 12 more\n";

    #[test]
    fn the_messages_of_the_causes_are_kept_and_the_frames_are_not() {
        assert_eq!(causes(WRAPPED), "Outer ← ERROR: relation \"x\" does not exist Position: 15");
        assert_eq!(root_cause(WRAPPED), "ERROR: relation \"x\" does not exist Position: 15");
    }

    #[test]
    fn a_cause_that_the_outer_message_only_repeats_is_said_once() {
        let trace = "a.B: c.D: why\n\tat x.y(Z)\nCaused by: c.D: why\n\tat x.y(Z)\n";
        assert_eq!(causes(trace), "why");
    }

    #[test]
    fn an_exception_without_a_message_is_named() {
        assert_eq!(causes("java.lang.NullPointerException\n\tat a.b(C)\n"), "NullPointerException");
    }

    #[test]
    fn a_long_trace_keeps_its_root_cause() {
        let trace = format!("a.B: {}\n\tat x\nCaused by: c.D: root\n", "o".repeat(600));
        assert_eq!(causes(&trace), "root");
        let endless = format!("a.B: {}", "é".repeat(5_000));
        assert_eq!(causes(&endless).chars().count(), MAX_CHARS);
        assert!(causes(&format!("{} is lost", "x".repeat(5_000))).ends_with(" is lost"));
    }

    #[test]
    fn text_that_is_no_trace_stays() {
        assert_eq!(causes("nothing of the kind"), "nothing of the kind");
        assert_eq!(causes(""), "");
    }
}
