//! `lently analyze`: what is read, what is printed, and that a second process is answered from the cache.

use serde_json::json;

use crate::Machine;

const CSV: &str = "comment_id,author,text,likes,published_at\n\
    c1,@ann,I love the sound in this video,12,2026-05-01T10:00:00Z\n\
    c2,@ben,\"Where did you buy the camera, please?\",3,2026-05-02T10:00:00Z\n\
    c3,@cid,The music is terrible,1,2026-05-03T10:00:00Z\n";

#[test]
fn a_second_process_is_answered_from_the_cache_in_every_format() {
    let machine = Machine::new();
    let info = json!({
        "id": "dQw4w9WgXcQ", "title": "T", "comment_count": 2, "extractor": "youtube", "webpage_url": "x",
        "comments": [
            {"id": "a", "parent": "root", "text": "great", "author": "@a", "like_count": 1, "timestamp": 1_747_630_347},
            {"id": "a.b", "parent": "a", "text": "indeed", "author": "@b", "like_count": 0},
        ],
    });
    let apify = json!([{"cid": "a", "replyToCid": null, "comment": "good one", "author": "@a", "voteCount": 2,
        "videoId": "dQw4w9WgXcQ", "pageUrl": "x", "title": "T", "commentsCount": 1}]);
    let lines = "{\"cid\":\"a\",\"text\":\"ok then\",\"time\":\"2 weeks ago\",\"author\":\"@a\",\"votes\":\"1.2K\"}\n\
        {\"cid\":\"a.b\",\"text\":\"nice\",\"time\":\"1 day ago\",\"author\":\"@b\",\"votes\":\"0\"}\n";
    let threads = json!({"kind": "youtube#commentThreadListResponse", "items": [{"kind": "youtube#commentThread",
        "snippet": {"videoId": "dQw4w9WgXcQ", "totalReplyCount": 0, "topLevelComment": {"id": "a",
        "snippet": {"textDisplay": "hello there", "authorDisplayName": "@a", "likeCount": 4}}}}]});
    for (name, content, comments) in [
        ("one.csv", CSV.to_owned(), 3),
        ("two.info.json", info.to_string(), 2),
        ("three.json", apify.to_string(), 1),
        ("four.jsonl", lines.to_owned(), 2),
        ("five.json", threads.to_string(), 1),
    ] {
        let file = machine.write(name, &content);
        let first = machine.run(&["analyze", &file, "--json"]).ok().json();
        assert_eq!(
            (&first["cached"], &first["report"]["coverage"]["read"]),
            (&json!(false), &json!(comments)),
            "{name}"
        );
        let second = machine.run(&["analyze", &file, "--json"]).ok();
        assert!(second.out.starts_with("{\"cached\":true,\"served\":{\"from\":\"disk\","), "{name}");
        assert_eq!(second.json()["report"], first["report"], "{name}");
        let anew = machine.run(&["analyze", &file, "--json", "--no-cache"]).ok().json();
        assert_eq!(anew["cached"], false, "{name}");
    }
}

#[test]
fn the_report_is_plain_text_off_a_terminal_and_strangers_cannot_steer_it() {
    let machine = Machine::new();
    let file =
        machine.write("x.csv", "text,likes\n\"\u{1b}]0;owned\u{7}I love this \u{202e}great camera\",5\n");
    let ran = machine.run(&["analyze", &file]).ok();
    assert!(!ran.out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{}", ran.out);
    for section in ["Sentiment", "Categories", "Most liked", "Summary", "Coverage", "Cost"] {
        assert!(ran.out.contains(section), "{section}: {}", ran.out);
    }
    assert!(ran.out.contains("1 of 1 comment read"), "{}", ran.out);
    assert_eq!(ran.err, "", "nothing is said where nothing is to say");
    let colored = machine.run(&["--color", "always", "analyze", &file]).ok();
    assert!(colored.out.contains("\u{1b}["));
}

#[test]
fn what_cannot_be_analyzed_is_told_with_what_was_expected() {
    let machine = Machine::new();
    let nothing = machine.run(&["analyze", "no-such-file.csv"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(1), ""));
    assert!(nothing.err == "lently: no-such-file.csv: there is no such file\n", "{}", nothing.err);
    let neither = machine.run(&["analyze", "neither"]).err;
    assert!(neither.starts_with("lently: there is no such file, and as a video:"), "{neither}");
    assert!(neither.contains("expected a YouTube address"), "{neither}");
    let empty = machine.run(&["analyze", ""]).err;
    assert!(empty.starts_with("lently: nothing is given; expected a YouTube address"), "{empty}");
    let without_key = machine.run(&["analyze", "dQw4w9WgXcQ"]);
    assert_eq!(without_key.code, Some(1));
    assert!(without_key.err.contains("YOUTUBE_API_KEY"), "{}", without_key.err);
    let file = machine.write("x.csv", "text\nhello\n");
    let gemini = machine.run(&["analyze", &file, "--engine", "gemini"]);
    assert!(gemini.code == Some(1) && gemini.err.contains("GEMINI_API_KEY"), "{}", gemini.err);
    let strange = machine.write("y.json", "{\"what\": 1}");
    assert!(machine.run(&["analyze", &strange]).err.contains("expected yt-dlp"));
    let heading = machine.write("hdr.csv", "text,likes\n");
    let told = machine.run(&["analyze", &heading]).err;
    assert_eq!(told, format!("lently: {heading}: there is no comment in this CSV file\n"));
    assert_eq!(machine.run(&["analyze"]).code, Some(2));
    assert_eq!(machine.run(&["analyze", &file, "--order", "best"]).code, Some(2));
}

#[test]
fn a_number_of_comments_that_cannot_be_is_wrong_usage() {
    let machine = Machine::new();
    for wrong in ["0", "x", "-1", "4294967296"] {
        let ran = machine.run(&["analyze", "dQw4w9WgXcQ", &format!("--max-comments={wrong}")]);
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.err);
        assert!(
            ran.err.contains("--max-comments") && ran.err.contains("expected a whole number"),
            "{}",
            ran.err
        );
    }
    let ran = machine.run(&["analyze", "dQw4w9WgXcQ", "--max-comments", "100001"]);
    assert!(ran.code == Some(2) && ran.err.contains("--max-comments 100001"), "{}", ran.err);
    let file = machine.write("x.csv", "text\nhello\n");
    machine.run(&["analyze", &file, "--max-comments", "100001"]).ok();
}

#[test]
fn an_error_names_its_input_and_cannot_steer_a_terminal() {
    let machine = Machine::new();
    let file = machine.write("odd.csv", "\u{1b}]0;owned\u{7}a,b\n1,2\n");
    let binary = machine.write("b.csv", "PK\u{3}\u{4}\0\u{1b}[31m\n");
    let ran = machine.run(&["analyze", &file, &binary, "\u{1b}[31m", "dQw4w9WgXcQ"]);
    assert!(!ran.err.contains(['\u{1b}', '\u{7}', '\0']), "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    for (line, input) in lines.iter().zip([file.as_str(), &binary, "[31m", "dQw4w9WgXcQ"]) {
        assert!(line.starts_with(&format!("lently: {input}: ")), "{line}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn what_is_odd_about_a_file_is_a_caution() {
    let machine = Machine::new();
    let videos = machine.write("videos.csv", "text,video_id\nfine,dQw4w9WgXcQ\ngood,AAAAAAAAAAA\n");
    let report = machine.run(&["analyze", &videos]).ok().out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.contains("The file holds comments of 2 videos."), "{report}");
    let open = machine.write("open.csv", "id,text\na,first\nb,\"second\nc,third\n");
    let report = machine.run(&["analyze", &open, "--json"]).ok().json()["report"].clone();
    assert_eq!(report["coverage"]["complete"], false);
    let caution = report["caution"].as_str().expect("a caution");
    assert!(caution.contains("A quote opened in line 3 of the file is never closed"), "{caution}");
}

#[test]
fn one_is_told_as_one_and_nothing_twice() {
    let machine = Machine::new();
    let file = machine.write("one.csv", "text,likes\nWhat camera is that in the intro?,1\n");
    let ran = machine.run(&["analyze", &file]).ok();
    assert!(ran.out.starts_with("one.csv\na file of comments (csv)\n"), "{}", ran.out);
    assert!(ran.out.contains("“What camera is that in the intro?” 1 like\n"), "{}", ran.out);
    assert!(ran.out.contains("1 comment was read.") && !ran.out.contains(", 1 like"), "{}", ran.out);
}

#[test]
fn of_several_inputs_those_that_can_be_are_printed() {
    let machine = Machine::new();
    let (one, two) = (machine.write("one.csv", CSV), machine.write("two.csv", "text\nhello you\n"));
    let ran = machine.run(&["analyze", &one, "missing.csv", &two, "--json"]);
    assert_eq!(ran.code, Some(1));
    let lines: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert!(ran.err.contains("missing.csv"));
}

#[test]
fn a_wrong_configuration_is_told_by_its_variable() {
    let machine = Machine::new().with("LENTLY_MAX_RUNNING", "many");
    let ran = machine.run(&["doctor"]);
    assert!(ran.code == Some(1) && ran.out.contains("LENTLY_MAX_RUNNING"), "{}{}", ran.out, ran.err);
    let file = machine.write("x.csv", "text\nhello\n");
    let ran = machine.run(&["analyze", &file]);
    assert!(ran.code == Some(2) && ran.err.contains("LENTLY_MAX_RUNNING"), "{}", ran.err);
}

#[test]
fn the_real_files_are_read_whole_and_a_second_process_is_a_hit() {
    let Some(folder) = lently_testing::real_data() else { return };
    let machine = Machine::new();
    for (name, comments) in
        [("threads_9k.info.json", 9006), ("one_video_20k.csv", 20_099), ("apify_export.json", 1457)]
    {
        let file = folder.join("comments").join(name).display().to_string();
        let first = machine.run(&["analyze", &file, "--json"]).ok().json();
        assert_eq!(
            (&first["cached"], &first["report"]["coverage"]["read"]),
            (&json!(false), &json!(comments))
        );
        assert_eq!(first["report"]["coverage"]["complete"], true);
        assert_eq!(machine.run(&["analyze", &file, "--json"]).ok().json()["cached"], true);
    }
}
