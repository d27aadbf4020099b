//! What happened in a world, as its outside saw it: calls, fetches, changes, troubles. Times are milliseconds since the world began.

use std::fmt::Write as _;

/// When something was, in milliseconds since the world began.
pub type At = u64;

/// Everything, in the order in which it began.
#[derive(Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub fetches: Vec<Fetch>,
    pub changes: Vec<Change>,
    pub troubles: Vec<Trouble>,
    /// The nodes that died, and when.
    pub lost: Vec<(usize, At)>,
    /// When all was calm again: whether each node had Redis, and how many changes it still owed it.
    pub at_last: Vec<(usize, bool, u64)>,
    /// Of each key, what each node has of it then.
    pub left: Vec<Vec<String>>,
    /// The leases that somebody still holds then.
    pub leases_left: Vec<String>,
    /// Whether the words are printed as well.
    pub watched: bool,
    /// The same in words, for whoever looks into a world that went wrong.
    pub log: String,
}

/// A call of `get_or_set`.
#[derive(Debug)]
pub struct Call {
    /// The place of its node on the network, which no other node had before or has after.
    pub node: usize,
    pub key: usize,
    pub how: How,
    /// Whether the node said that Redis is connected and tells of changes.
    pub tracking: bool,
    pub began: At,
    pub ended: Option<(At, End)>,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    ByPolicy,
    Anew,
    NotStored,
    OnlyCached,
    /// Nothing older than so many milliseconds.
    Younger(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It got what this fetch brought.
    Value { fetch: usize, outcome: Got },
    /// It got a failure of that class.
    Failed(&'static str),
    /// Nothing was cached, and nothing else wanted.
    NotCached,
    /// The caller went away.
    Left,
    /// The node did.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    Hit,
    /// While it is fetched anew.
    Stale,
    /// Because it could not be fetched anew.
    StaleIfError,
    Fetched,
    Collapsed,
}

/// A value's way from upstream, or by `set`.
#[derive(Debug)]
pub struct Fetch {
    pub node: usize,
    pub key: usize,
    /// The version that it brings.
    pub version: u64,
    pub began: At,
    pub ended: Option<(At, FetchEnd)>,
    pub by_set: bool,
    /// The caller for whom it was begun.
    pub how: How,
    /// Whether the node said that Redis is connected and tells of changes.
    pub tracking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    Brought,
    Failed,
    /// The upstream says that there is nothing to be had before this.
    NotBefore(At),
    NotFound,
    /// It was given up, or its node is gone.
    Dropped,
}

/// A change of what is true of a key.
#[derive(Debug)]
pub struct Change {
    /// Of an operator at the server's console: `None`.
    pub node: Option<usize>,
    /// Every key: `None`.
    pub key: Option<usize>,
    /// The version from then on, where it is another.
    pub version: u64,
    pub verb: Verb,
    /// Whether the node said that Redis is connected and tells of changes.
    pub tracking: bool,
    pub began: At,
    /// When it was acknowledged, or refused.
    pub ended: Option<(At, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Delete,
    Set,
    Tag,
    Pattern,
    /// By an operator at the console: the value alone.
    ConsoleDelete,
    ConsoleFlush,
}

/// Something that may have gone wrong for one node or all.
#[derive(Debug)]
pub struct Trouble {
    pub node: Option<usize>,
    pub name: &'static str,
    pub from: At,
    pub to: Option<At>,
}

impl History {
    pub fn note(&mut self, at: At, words: &str) {
        let _ = writeln!(self.log, "{at:>7}  {words}");
        if self.watched {
            println!("{at:>7}  {words}");
        }
    }

    pub fn trouble_began(&mut self, at: At, node: Option<usize>, name: &'static str) -> usize {
        let who = node.map_or_else(|| "server".to_owned(), |node| format!("node {node}"));
        self.note(at, &format!("{who}: {name} begins"));
        self.troubles.push(Trouble { node, name, from: at, to: None });
        self.troubles.len() - 1
    }

    pub fn trouble_ended(&mut self, at: At, trouble: usize) {
        let Trouble { node, name, .. } = self.troubles[trouble];
        let who = node.map_or_else(|| "server".to_owned(), |node| format!("node {node}"));
        self.note(at, &format!("{who}: {name} ends"));
        self.troubles[trouble].to = Some(at);
    }

    /// Whether anything was wrong with the node, or with the server, at some moment of the span.
    pub fn was_troubled(&self, node: usize, from: At, to: At) -> bool {
        self.troubles.iter().any(|trouble| {
            trouble.node.is_none_or(|its| its == node)
                && trouble.from <= to
                && trouble.to.is_none_or(|ended| from <= ended)
        })
    }

    /// Whether the node died before then.
    pub fn was_lost(&self, node: usize, before: At) -> bool {
        self.lost.iter().any(|(lost, at)| *lost == node && *at <= before)
    }

    /// Whether the key was being changed at some moment of the span, or somebody tried, other than by setting this value.
    pub fn was_changed_but_by(&self, value: &Fetch, from: At, to: At) -> bool {
        self.changes.iter().any(|change| {
            let its_own = value.by_set && change.verb == Verb::Set && change.version == value.version;
            change.key.is_none_or(|key| key == value.key)
                && !its_own
                && change.began <= to
                // What was not told is told later, at some time.
                && change.ended.is_none_or(|(ended, told)| !told || from <= ended)
        })
    }
}
