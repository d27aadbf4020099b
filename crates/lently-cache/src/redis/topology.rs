//! What the nodes of a cluster say of it (`CLUSTER NODES`), and what follows from all of them together: which primary serves
//! which slot. It reads and reckons; it asks nobody.
//!
//! Nodes learn of changes one after the other. Each claim to a slot carries the configuration epoch of its owner, and the
//! highest one is right, as between the nodes themselves.

use std::collections::{HashMap, HashSet};

use super::{dial::Address, slots::SLOTS};

/// Stands for a slot that nobody serves.
const NOBODY: u16 = u16::MAX;

/// What one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    nodes: Vec<Seen>,
    /// Whether the node that says it is a primary.
    pub is_primary: bool,
    /// Whether slots are on their way to it or from it.
    pub moving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: String,
    place: Place,
    primary: bool,
    failed: bool,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub address: Address,
    /// Its other name, by which it may be called in redirections.
    pub alias: Option<Address>,
}

impl Place {
    pub(super) fn is_at(&self, address: &Address) -> bool {
        self.address == *address || self.alias.as_ref() == Some(address)
    }
}

impl View {
    /// Reads the answer to `CLUSTER NODES` of the node at `asked`. With `by_name` nodes are called by their host names, where
    /// they announce one: certificates are made out to names. A line that cannot be read is passed over.
    pub(super) fn parse(text: &str, asked: &Address, by_name: bool) -> Self {
        let mut view = Self { nodes: Vec::new(), is_primary: false, moving: false };
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [id, at, flags, _, _, _, epoch, _, slots @ ..] = &fields[..] else { continue };
            let flags: HashSet<&str> = flags.split(',').collect();
            if flags.contains("handshake") || flags.contains("noaddr") {
                continue;
            }
            let myself = flags.contains("myself");
            let Some(place) = place(at, asked, myself, by_name) else { continue };
            let primary = flags.contains("master");
            if myself {
                view.is_primary = primary;
                view.moving = slots.iter().any(|slot| slot.starts_with('['));
            }
            view.nodes.push(Seen {
                id: (*id).to_owned(),
                place,
                primary,
                failed: flags.contains("fail"),
                epoch: epoch.parse().unwrap_or(0),
                slots: slots.iter().filter_map(|slots| range(slots)).collect(),
            });
        }
        view
    }

    /// Where all nodes are, replicas among them.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.nodes.iter().map(|node| &node.place.address)
    }
}

fn place(text: &str, asked: &Address, myself: bool, by_name: bool) -> Option<Place> {
    let mut parts = text.split(',');
    let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    // A node that nobody has met yet does not know its own address.
    let host = if host.is_empty() && myself { &asked.host } else { host };
    if host.is_empty() {
        return None;
    }
    let at = |host: &str| Address { host: host.to_owned(), port };
    let name = parts.next().filter(|name| !name.is_empty() && *name != "?" && !name.contains('=')).map(at);
    Some(match name {
        Some(name) if by_name => Place { address: name, alias: Some(at(host)) },
        alias => Place { address: at(host), alias },
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && usize::from(last) < SLOTS).then_some((first, last))
}

/// Which primaries there are, and which serves which slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub primaries: Vec<Place>,
    owners: Vec<u16>,
}

impl Layout {
    /// What follows from all views together.
    pub(super) fn of<'a>(views: impl Iterator<Item = &'a View> + Clone) -> Self {
        let seen = views.flat_map(|view| &view.nodes);
        let replicas: HashSet<&str> =
            seen.clone().filter(|node| !node.primary).map(|node| node.id.as_str()).collect();
        let (mut numbers, mut primaries) = (HashMap::new(), Vec::new());
        // The epoch of the claim and who makes it.
        let mut claims: Vec<Option<(u64, usize)>> = vec![None; SLOTS];
        for node in seen.filter(|node| node.primary) {
            let number = *numbers.entry(node.id.as_str()).or_insert_with(|| {
                // Primaries without slots are kept up with too: a slot may move to them.
                let is_well = !node.failed && !replicas.contains(node.id.as_str());
                primaries.push((&node.place, is_well));
                primaries.len() - 1
            });
            for (first, last) in &node.slots {
                for claim in &mut claims[usize::from(*first)..=usize::from(*last)] {
                    if claim.is_none_or(|(epoch, _)| epoch < node.epoch) {
                        *claim = Some((node.epoch, number));
                    }
                }
            }
        }
        for (_, number) in claims.iter().flatten() {
            primaries[*number].1 = true;
        }
        let mut order: Vec<usize> = (0..primaries.len()).filter(|number| primaries[*number].1).collect();
        order.sort_by_key(|number| &primaries[*number].0.address);
        let mut places = vec![NOBODY; primaries.len()];
        for (place, number) in (0..).zip(&order) {
            places[*number] = place;
        }
        Self {
            owners: claims.iter().map(|claim| claim.map_or(NOBODY, |(_, number)| places[number])).collect(),
            primaries: order.iter().map(|number| primaries[*number].0.clone()).collect(),
        }
    }

    /// Which of the primaries serves the slot.
    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        self.owners.get(usize::from(slot)).filter(|owner| **owner != NOBODY).map(|owner| usize::from(*owner))
    }

    /// Whether each slot is served by the same primary as in another layout.
    pub(super) fn serves_alike(&self, other: &Self) -> bool {
        let there = self.primaries.iter().map(|place| {
            let at = other.primaries.iter().position(|other| other.address == place.address);
            at.and_then(|at| u16::try_from(at).ok())
        });
        let there: Vec<Option<u16>> = there.collect();
        self.owners.iter().zip(&other.owners).all(|(owner, other)| match there.get(usize::from(*owner)) {
            Some(there) => *there == Some(*other),
            None => *other == NOBODY,
        })
    }

    /// How many slots nobody serves.
    pub(super) fn unserved(&self) -> usize {
        self.owners.iter().filter(|owner| **owner == NOBODY).count()
    }

    /// Whether a primary serves any slot.
    pub(super) fn has_slots(&self, primary: usize) -> bool {
        self.owners.iter().any(|owner| usize::from(*owner) == primary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
07c37d 127.0.0.1:30004@31004,four.example slave e7d1ee 0 1426238317239 4 connected
67ed2d 127.0.0.1:30002@31002,two.example master - 0 1426238316232 2 connected 5461-10922
292f8b 127.0.0.1:30003@31003,three.example,shard-id=1 master,fail? - 0 1426238318243 3 connected 10923-16382 16383
824fe1 127.0.0.1:30006@31006 master - 0 1426238317741 0 connected
aaaaaa 127.0.0.1:30009@31009 master,fail - 0 1426238317741 0 disconnected
bbbbbb :0@0 master,noaddr - 0 1426238317741 0 disconnected
e7d1ee :30001@31001,one.example myself,master - 0 0 1 connected 0-5460 [5461-<-67ed2d]
";

    fn asked() -> Address {
        Address { host: "10.0.0.1".to_owned(), port: 30001 }
    }

    fn owner(layout: &Layout, slot: u16) -> Option<String> {
        layout.owner(slot).map(|owner| layout.primaries[owner].address.to_string())
    }

    #[test]
    fn an_answer_is_read_into_primaries_and_their_slots() {
        let view = View::parse(TEXT, &asked(), false);
        assert!(view.is_primary && view.moving);
        let layout = Layout::of([&view].into_iter());
        let addresses: Vec<String> = layout.primaries.iter().map(|place| place.address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.1:30001", "127.0.0.1:30002", "127.0.0.1:30003", "127.0.0.1:30006"]);
        assert_eq!(owner(&layout, 0).as_deref(), Some("10.0.0.1:30001"));
        assert_eq!(owner(&layout, 5461).as_deref(), Some("127.0.0.1:30002"));
        assert_eq!(owner(&layout, 16383).as_deref(), Some("127.0.0.1:30003"));
        assert_eq!((layout.unserved(), layout.has_slots(0), layout.has_slots(3)), (0, true, false));
    }

    #[test]
    fn nodes_are_called_by_name_where_certificates_ask_for_it() {
        let layout = Layout::of([&View::parse(TEXT, &asked(), true)].into_iter());
        assert_eq!(owner(&layout, 5461).as_deref(), Some("two.example:30002"));
        assert!(layout.primaries.iter().any(|place| {
            place.is_at(&Address { host: "127.0.0.1".to_owned(), port: 30002 })
                && place.is_at(&Address { host: "two.example".to_owned(), port: 30002 })
        }));
    }

    #[test]
    fn of_two_claims_to_a_slot_the_later_one_is_right_whoever_tells_it() {
        let behind = View::parse("a 1.1.1.1:1@2 myself,master - 0 0 1 connected 0-16383", &asked(), false);
        let ahead =
            "a 1.1.1.1:1@2 slave b 0 0 1 connected\nb 2.2.2.2:1@2 myself,master - 0 0 2 connected 0-16383";
        let ahead = View::parse(ahead, &asked(), false);
        for views in [[&behind, &ahead], [&ahead, &behind]] {
            let layout = Layout::of(views.into_iter());
            assert_eq!(owner(&layout, 7).as_deref(), Some("2.2.2.2:1"));
            assert_eq!(layout.primaries.len(), 1, "one that is called a replica is none");
        }
        let before = Layout::of([&behind].into_iter());
        assert!(before.serves_alike(&before) && !before.serves_alike(&Layout::of([&ahead].into_iter())));
    }

    #[test]
    fn nonsense_is_passed_over() {
        let view =
            View::parse("\n\na b c\nid nowhere myself,master - 0 0 x connected 9-2 99999 [", &asked(), false);
        let layout = Layout::of([&view].into_iter());
        assert_eq!((layout.primaries.len(), layout.unserved()), (0, SLOTS));
    }
}
