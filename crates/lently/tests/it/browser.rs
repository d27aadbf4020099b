//! The page in a browser: drawn, filtered, read on a phone and by keyboard, and never run by what a stranger wrote.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lently::report::{Format, export};
use lently_upstream::{Comment, dump::parse_dump};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    chromium::{Chromium, DESKTOP, PHONE, Screen},
    exports::{analyzed, exported, house, of_file},
    house::plain,
};

/// A picture for the documentation may not weigh more.
const PICTURE_BYTES: usize = 200_000;

/// Each number in the page with what it leads to: clicks them one after the other and returns those that differ.
const EVERY_NUMBER: &str = r"
(() => {
  const wrong = [], kinds = {};
  for (const link of document.querySelectorAll('[data-pick]')) {
    const by = link.getAttribute('data-pick');
    const kind = by.split(':')[0];
    kinds[kind] = (kinds[kind] ?? 0) + 1;
    const label = link.getAttribute('aria-label');
    const told = (label ? label.split(': ')[1] : (link.querySelector('.count') ?? link).textContent).replaceAll(',', '');
    link.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
    const found = document.getElementById('found').textContent.replaceAll(',', '');
    const rows = document.querySelectorAll('#rows > li').length;
    const ok = kind === 'thread'
      ? rows > 0 && document.querySelectorAll('#rows > li.here').length === 1
      : parseInt(found) === parseInt(told) && rows === Math.min(parseInt(told), 50);
    if (!ok) wrong.push(`${by}: ${told}, but ${found}, ${rows} rows`);
  }
  return { wrong, kinds };
})()";

/// All text whose contrast with what is behind it is below 4.5, as WCAG 2.2 counts it (1.4.3).
const CONTRAST: &str = r"
(() => {
  const rgb = (color) => { const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number); return { c: [r, g, b], a }; };
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = new Set();
  for (const one of document.querySelectorAll('body *')) {
    const hasText = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || one.closest('script, svg, noscript, :disabled') || !one.checkVisibility()) continue;
    let behind = one;
    while (behind && rgb(getComputedStyle(behind).backgroundColor).a === 0) behind = behind.parentElement;
    const [a, b] = [getComputedStyle(one).color, getComputedStyle(behind ?? document.body).backgroundColor].map((c) => light(rgb(c).c));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.add(`${one.tagName}.${one.className}: ${ratio.toFixed(2)}`);
  }
  return [...low];
})()";

const HOSTILE: [&str; 7] = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 2</script>",
    "<img src=x onerror='window.ran = 3'><svg onload='window.ran = 4'>",
    "\"><a href=javascript:window.ran=5 onfocus=window.ran=6 autofocus>x</a>",
    "<!-- ]]> --><style>*{display:none}</style>",
    "{{ 7 * 7 }} ${7 * 7} &lt;b&gt;",
    "\u{202e}right to left\u{2066} \u{2028}שלום עולם",
];

fn saved(folder: &TempDir, page: &[u8]) -> String {
    let path = folder.path().join("report.html");
    std::fs::write(&path, page).expect("a file is written");
    format!("file://{}", path.display())
}

async fn text(chromium: &mut Chromium, id: &str) -> String {
    let text = chromium.evaluate(&format!("document.getElementById('{id}').textContent")).await;
    text.as_str().unwrap_or_default().to_owned()
}

/// Where it can be looked at; what stands in the documentation is a copy.
fn picture(name: &str, base64: &str) {
    let bytes = BASE64_STANDARD.decode(base64).expect("base64");
    assert!(bytes.len() < PICTURE_BYTES, "{name} has {} bytes", bytes.len());
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, bytes).expect("a file is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_drawn_and_every_number_leads_to_its_comments() {
    let (house, folder) = (house().await, TempDir::new().expect("a folder"));
    let id = analyzed(&house, plain(), 500).await;
    let address = saved(&folder, exported(&house, &id, "html").await.body.as_bytes());
    let mut chromium = Chromium::start().await;
    chromium.open(&address, DESKTOP).await;
    assert_eq!(chromium.requests(), [address.as_str()], "nothing but the file");
    picture("report-light.png", &chromium.screenshot().await);

    let drawn = "[...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect())";
    let flat =
        chromium.evaluate(&format!("{drawn}.filter((box) => box.width < 20 || box.height < 5).length")).await;
    let all = chromium.evaluate(&format!("{drawn}.length")).await;
    assert!(flat == 0 && all.as_u64() > Some(20), "{flat} of {all} drawings have no size");
    let tall = "[...document.querySelectorAll('.columns rect.positive')].map((bar) => bar.getBoundingClientRect().height)";
    assert!(chromium.evaluate(&format!("Math.max(...{tall})")).await.as_f64() > Some(50.0));

    let clicked = chromium.evaluate(EVERY_NUMBER).await;
    assert_eq!(clicked["wrong"], json!([]));
    let kinds: Vec<&String> = clicked["kinds"].as_object().expect("an object").keys().collect();
    assert_eq!(kinds, ["all", "category", "language", "places", "sentiment", "theme", "thread", "time"]);
    assert_eq!(chromium.complaints(), Vec::<&Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_are_searched_ordered_and_paged() {
    let (house, folder) = (house().await, TempDir::new().expect("a folder"));
    let id = analyzed(&house, plain(), 500).await;
    let address = saved(&folder, exported(&house, &id, "html").await.body.as_bytes());
    let mut chromium = Chromium::start().await;
    chromium.open(&address, DESKTOP).await;
    assert_eq!(text(&mut chromium, "found").await, "500 comments");
    assert_eq!(text(&mut chromium, "page").await, "1–50");
    chromium.evaluate("document.getElementById('later').click()").await;
    assert_eq!(text(&mut chromium, "page").await, "51–100");

    let search = "(async () => { const box = document.getElementById('search'); box.value = 'SOUND desígn'; \
         box.dispatchEvent(new Event('input', { bubbles: true })); \
         while (!document.getElementById('found').textContent.includes(' of ')) await new Promise((go) => setTimeout(go, 5)); \
         return [...document.querySelectorAll('#rows .text')].every((text) => /sound/i.test(text.textContent) && /design/i.test(text.textContent)); })()";
    assert_eq!(chromium.evaluate(search).await, true);
    let likes = "(() => { const order = document.getElementById('order'); order.value = 'likes'; \
         order.dispatchEvent(new Event('change')); \
         return [...document.querySelectorAll('#rows .told')].map((line) => parseInt(/([\\d,]+) likes?/.exec(line.textContent)[1].replaceAll(',', ''))); })()";
    let likes: Vec<u64> = serde_json::from_value(chromium.evaluate(likes).await).expect("numbers");
    assert!(likes.len() > 10 && likes.is_sorted_by(|a, b| a >= b), "{likes:?}");

    // By keyboard alone: a number is reached, and Enter follows it.
    chromium.evaluate("document.querySelector('[data-pick=\"sentiment:negative\"]').focus()").await;
    chromium.press("Enter", 13, "\r").await;
    let found = text(&mut chromium, "found").await;
    assert!(found.ends_with(" of 500 comments"), "{found}");
    assert_eq!(text(&mut chromium, "chips").await, "sentiment: negative");
    assert_eq!(chromium.evaluate("document.activeElement.id").await, "comments", "where reading goes on");
    chromium.evaluate("document.querySelector('#chips button').click()").await;
    assert_eq!(text(&mut chromium, "found").await, "500 comments");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_on_a_phone_in_light_and_dark_and_without_scripts() {
    let (house, folder) = (house().await, TempDir::new().expect("a folder"));
    let id = analyzed(&house, plain(), 500).await;
    let address = saved(&folder, exported(&house, &id, "html").await.body.as_bytes());
    let mut chromium = Chromium::start().await;
    for screen in [PHONE, Screen { dark: false, ..PHONE }, DESKTOP, Screen { dark: true, ..DESKTOP }] {
        chromium.open(&address, screen).await;
        let width = chromium.evaluate("document.documentElement.scrollWidth").await;
        assert_eq!(width, screen.width, "nothing is beside the screen");
        assert_eq!(chromium.evaluate(CONTRAST).await, json!([]), "dark: {}", screen.dark);
    }
    chromium.open(&address, PHONE).await;
    chromium.evaluate("document.getElementById('mood').scrollIntoView({ behavior: 'instant' })").await;
    picture("report-phone-dark.png", &chromium.screenshot().await);

    chromium.open(&address, Screen { scripts: false, ..DESKTOP }).await;
    assert_eq!(chromium.evaluate("document.querySelectorAll('#rows > li').length").await, 25);
    assert_eq!(chromium.evaluate("document.getElementById('filters').checkVisibility()").await, false);
    let told = chromium.evaluate("document.body.innerText").await;
    assert!(told.as_str().is_some_and(|told| told.contains("needs JavaScript")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_a_comment_is_text_and_nothing_runs() {
    let (house, folder) = (house().await, TempDir::new().expect("a folder"));
    let mut dump = parse_dump("some.csv", b"text\nx\n").expect("a file of comments");
    dump.title = Some(HOSTILE[0].to_owned());
    // As a question, too, so that it is quoted above the list.
    let texts =
        HOSTILE.iter().flat_map(|text| [(*text).to_owned(), format!("what does {text} mean, please?")]);
    let comment =
        |text: String| Comment { id: text.clone(), author: text.clone(), text, ..Comment::default() };
    dump.comments = texts.map(comment).collect();
    let (body, comments) = of_file(&house, "<script>window.ran = 8</script>.csv", dump).await;
    let page = export(Format::Html, &body, Some(&comments)).expect("a page");
    let address = saved(&folder, &page);
    let mut chromium = Chromium::start().await;
    chromium.open(&address, DESKTOP).await;

    assert_eq!(chromium.evaluate("typeof window.ran").await, "undefined");
    assert_eq!(chromium.evaluate("document.scripts.length").await, 2, "the comments, and the page's own");
    assert_eq!(
        chromium
            .evaluate("document.querySelectorAll('img, iframe, [onload], [onerror], [onfocus]').length")
            .await,
        0
    );
    let shown = chromium
        .evaluate("[...document.querySelectorAll('#rows .text')].map((one) => one.textContent)")
        .await;
    for text in HOSTILE {
        assert!(shown.as_array().is_some_and(|all| all.contains(&text.into())), "{text} in {shown}");
    }
    let turned = "[...document.querySelectorAll('#rows .text')].every((one) => one.dir === 'auto' && getComputedStyle(one).unicodeBidi.includes('isolate'))";
    assert_eq!(chromium.evaluate(turned).await, true);
    assert_eq!(chromium.evaluate(EVERY_NUMBER).await["wrong"], json!([]));
    assert_eq!(chromium.evaluate("typeof window.ran").await, "undefined");
    assert_eq!(chromium.requests(), [address.as_str()]);
    assert_eq!(chromium.complaints(), Vec::<&Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn served_over_http_it_works_under_its_policy_and_is_of_no_origin() {
    let house = house().await;
    let id = analyzed(&house, plain(), 100).await;
    let mut chromium = Chromium::start().await;
    let address = format!("http://{}/api/analysis/{id}/export?format=html", house.address);
    chromium.open(&address, DESKTOP).await;
    assert_eq!(chromium.evaluate("self.origin").await, "null");
    assert_eq!(chromium.evaluate(EVERY_NUMBER).await["wrong"], json!([]));
    assert_eq!(chromium.complaints(), Vec::<&Value>::new());
}
