//! Real files and recorded answers, where `LENTLY_REAL_DATA` says they are.

use std::fs;

use lently_upstream::dump::{DumpFormat, parse_dump};

#[test]
fn every_comment_of_the_real_files_is_read() {
    let Some(folder) = lently_testing::real_data() else { return };
    for (name, format, comments) in [
        ("threads_9k.info.json", DumpFormat::YtDlp, 9_006),
        ("one_video_20k.csv", DumpFormat::Csv, 20_099),
        ("apify_export.json", DumpFormat::Apify, 1_457),
        ("spanish_channel.csv", DumpFormat::Csv, 259),
        ("one_video_two_crawls_early.csv", DumpFormat::Csv, 1_218),
        ("one_video_two_crawls_late.csv", DumpFormat::Csv, 1_419),
    ] {
        let bytes = fs::read(folder.join("comments").join(name)).expect("the file");
        let dump = parse_dump(name, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((dump.format, dump.comments.len(), dump.skipped_rows), (format, comments, 0), "{name}");
        assert!(dump.comments.iter().all(|comment| !comment.text.contains("<br>")), "{name}");
    }
}
