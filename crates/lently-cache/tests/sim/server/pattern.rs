//! Redis' globs.

/// Whether the whole of `text` matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        b'?' => !text.is_empty() && matches(rest, &text[1..]),
        b'[' => {
            let Some((&byte, text)) = text.split_first() else { return false };
            let (found, rest) = in_class(rest, byte);
            found && matches(rest, text)
        }
        _ => {
            // What is escaped means itself; so does an escape at the end.
            let (literal, rest) = match (first, rest.split_first()) {
                (b'\\', Some((&escaped, rest))) => (escaped, rest),
                _ => (first, rest),
            };
            text.first() == Some(&literal) && matches(rest, &text[1..])
        }
    }
}

/// Whether the byte is of the class, and what is behind the class. One that does not end, ends with the pattern.
fn in_class(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let not = class.first() == Some(&b'^');
    if not {
        class = &class[1..];
    }
    let mut found = false;
    loop {
        match class {
            [] => return (found != not, class),
            [b']', rest @ ..] => return (found != not, rest),
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                class = rest;
            }
            [low, b'-', high, rest @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                class = rest;
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                class = rest;
            }
        }
    }
}
