//! The HTML in which YouTube's `textDisplay` comes, as plain text. Knows the few tags that YouTube writes, and leaves
//! every other angle bracket as it is: people write `<3`.

const KNOWN_TAGS: [&str; 9] = ["<br>", "<br/>", "<br />", "<a ", "</a>", "<b>", "</b>", "<i>", "</i>"];
/// How far the end of a tag is looked for; without a bound, a text of nothing but beginnings would take forever.
const LONGEST_TAG: usize = 4096;

/// `textDisplay` in HTML as plain text: line breaks, links' text, and the five entities that YouTube writes.
/// Text without a sign of HTML is left as it is.
#[must_use]
pub fn plain_text(text: &str) -> String {
    if !text.contains("<br") && !text.contains("</a>") && !text.contains("&#39;") && !has_entity(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        let tag = &rest[open..];
        let close = || tag[..tag.floor_char_boundary(LONGEST_TAG)].find('>');
        let known = KNOWN_TAGS.iter().find(|known| tag.starts_with(**known));
        match known.and_then(|known| Some((known, close()?))) {
            Some((known, close)) => {
                if known.starts_with("<br") {
                    out.push('\n');
                }
                rest = &tag[close + 1..];
            }
            None => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    // The ampersand last, so that `&amp;lt;` becomes `&lt;` and no more.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(out, |text, (entity, plain)| text.replace(entity, plain))
}

fn has_entity(text: &str) -> bool {
    ["&quot;", "&amp;", "&lt;", "&gt;"].iter().any(|entity| text.contains(entity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_plain_text_and_plain_text_stays() {
        assert_eq!(
            plain_text("a<br>b &quot;c&quot; <a href=\"x\">0:42</a> &amp;lt;"),
            "a\nb \"c\" 0:42 &lt;"
        );
        assert_eq!(plain_text("I <3 this & that"), "I <3 this & that");
        assert_eq!(plain_text("1 < 2<br>yes"), "1 < 2\nyes");
    }

    #[test]
    fn beginnings_without_an_end_stay() {
        let text = format!("<br>{}", "<a ".repeat(50_000));
        assert_eq!(plain_text(&text).len(), 1 + 3 * 50_000);
    }
}
