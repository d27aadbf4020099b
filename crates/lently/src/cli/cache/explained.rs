//! What the cache says of a key, for people: a line for each tier, who is at work, and what comes next.

use std::fmt::Write as _;

use serde_json::Value;

use crate::report::clean;

/// `facts` as [`lently_cache::Explanation`] or a server writes them. Whatever is not there is left out.
pub(super) fn lines(facts: &Value) -> String {
    let mut out = format!("{}\n", text(&facts["key"]));
    for tier in facts["tiers"].as_array().into_iter().flatten() {
        line(&mut out, &text(&tier["tier"]), &tier_told(tier));
    }
    let lease = &facts["lease"];
    let held = match (lease["owner"].as_str(), lease["here"].as_bool()) {
        (Some(_), Some(true)) => "held by this process".to_owned(),
        (Some(owner), _) => format!("held by process {}", clean(owner)),
        _ => word(&lease["state"]),
    };
    line(&mut out, "lease", &held);
    line(&mut out, "flight", &word(&facts["flight"]));
    if facts["resting"].is_object() {
        line(&mut out, "refresh", &format!("rests after {}", failure(&facts["resting"])));
    }
    for owed in facts["owed"].as_array().into_iter().flatten() {
        line(&mut out, "owed", &owed_told(owed));
    }
    line(&mut out, "next", &format!("{}: {}", word(&facts["next"]["step"]), text(&facts["next"]["why"])));
    for near in facts["near"].as_array().into_iter().flatten() {
        let (key, tier, other) = (text(&near["key"]), text(&near["tier"]), word(&near["difference"]));
        line(&mut out, "near", &format!("{key} in {tier}: another {other}"));
    }
    out
}

fn tier_told(tier: &Value) -> String {
    let mut told = word(&tier["state"]);
    if let Some(bytes) = tier["bytes"].as_u64().filter(|&bytes| bytes > 0) {
        let _ = write!(told, ", {bytes} bytes");
    }
    let value = &tier["value"];
    for (name, words) in
        [("age_seconds", "old"), ("ttl_seconds", "fresh"), ("retention_left_seconds", "to be kept")]
    {
        match value[name].as_i64() {
            Some(seconds) if name == "ttl_seconds" && seconds < 0 => {
                let _ = write!(told, ", stale for {} s", seconds.unsigned_abs());
            }
            Some(seconds) => {
                let _ = write!(told, ", {seconds} s {words}");
            }
            None => {}
        }
    }
    for (name, amount) in value["cost"].as_object().into_iter().flatten() {
        if amount.as_u64().is_some_and(|amount| amount > 0) {
            let _ = write!(told, ", {amount} {}", clean(&name.replace('_', " ")));
        }
    }
    for tag in value["tags"].as_array().into_iter().flatten() {
        let _ = write!(told, ", tag {} {}", text(&tag["tag"]), word(&tag["state"]));
    }
    if value["believed"] == false {
        told.push_str(", to be asked for again");
    }
    if tier["failure"].is_object() {
        let _ = write!(told, ", failed: {}", failure(&tier["failure"]));
    }
    told
}

/// A change that Redis was not told.
fn owed_told(owed: &Value) -> String {
    let mut told = word(&owed["change"]);
    if owed["by"].is_string() {
        let _ = write!(told, " {}", text(&owed["by"]));
    }
    if let Some(bytes) = owed["bytes"].as_u64().filter(|&bytes| bytes > 0) {
        let _ = write!(told, " of {bytes} bytes");
    }
    let _ = write!(told, ", {} ms old, tried {} times in vain since", owed["age_ms"], owed["attempts"]);
    told
}

fn failure(failure: &Value) -> String {
    format!("{}, remembered for {} ms", text(&failure["class"]), failure["left_ms"])
}

fn line(out: &mut String, name: &str, told: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {name:<8} {told}");
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or("-"))
}

/// A name out of a list of ours, for people.
fn word(value: &Value) -> String {
    text(value).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_redis_was_not_told_and_what_nearly_matched_has_a_line_each() {
        let told = super::lines(&json!({
            "key": "video:1", "tiers": [], "lease": {"state": "unknown"}, "flight": "none",
            "owed": [
                {"change": "delete_pattern", "by": "video:*", "bytes": 0, "age_ms": 4000, "attempts": 2},
                {"change": "value", "bytes": 812, "age_ms": 1500, "attempts": 0},
            ],
            "next": {"step": "serve", "why": "memory has it"},
            "near": [{"key": "transcript:1", "tier": "redis", "difference": "kind"}],
        }));
        assert_eq!(
            told,
            "video:1\n  lease    unknown\n  flight   none\n  \
             owed     delete pattern video:*, 4000 ms old, tried 2 times in vain since\n  \
             owed     value of 812 bytes, 1500 ms old, tried 0 times in vain since\n  next     serve: memory has it\n  \
             near     transcript:1 in redis: another kind\n"
        );
    }
}
