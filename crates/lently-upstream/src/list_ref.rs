//! Names of playlists and channels, and the addresses people paste for them. Asks nobody whether they exist.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::video_ref::{RefError, address, bare_host, is_id_byte, parameter};

/// Longer than any that YouTube hands out.
const PLAYLIST_BYTES_MAX: usize = 64;
const HANDLE_CHARS_MAX: usize = 100;
const ADDRESS_BYTES_MAX: usize = 2048;

/// A playlist's id: 2 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaylistId(String);

/// What a channel is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ChannelRef {
    /// Its id: `UC` and 22 of `A-Z a-z 0-9 _ -`.
    Id(String),
    /// Its handle, with the `@` in front.
    Handle(String),
}

impl PlaylistId {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it holds a channel's uploads, which YouTube lists newest first.
    #[must_use]
    pub fn is_of_uploads(&self) -> bool {
        self.0.starts_with("UU")
    }
}

impl FromStr for PlaylistId {
    type Err = RefError;

    /// Reads an id, or an address with `list=` in it.
    fn from_str(text: &str) -> Result<Self, RefError> {
        let text = text.trim();
        let is_id = |id: &str| (2..=PLAYLIST_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_id_byte);
        if is_id(text) {
            return Ok(Self(text.to_owned()));
        }
        let listed = || {
            let url = address(text).filter(|_| text.len() <= ADDRESS_BYTES_MAX)?;
            matches!(bare_host(&url).as_str(), "youtube.com" | "youtu.be").then(|| parameter(&url, "list"))?
        };
        listed().filter(|id| is_id(id)).map(Self).ok_or(RefError::new(
            "this is no playlist",
            "expected its id, such as PLOU2XLYxmsIKpaV8h0AGE05so0fAwwfTw, or an address with list= in it",
        ))
    }
}

impl FromStr for ChannelRef {
    type Err = RefError;

    /// Reads an id, a handle, or an address of either.
    fn from_str(text: &str) -> Result<Self, RefError> {
        let text = text.trim();
        let named = || {
            let url = address(text).filter(|_| text.len() <= ADDRESS_BYTES_MAX)?;
            let mut path = url.path_segments().filter(|_| bare_host(&url) == "youtube.com")?;
            let first = path.next()?;
            let name = if first == "channel" { path.next()? } else { first };
            // Decodes what an address may not have in it as it is.
            let (name, _) = form_urlencoded::parse(name.as_bytes()).next()?;
            of_name(&name)
        };
        of_name(text).or_else(named).ok_or(RefError::new(
            "this is no channel",
            "expected its id, such as UC_x5XG1OV2P6uZZ5FSM9Ttw, its @handle, or an address of either",
        ))
    }
}

fn of_name(name: &str) -> Option<ChannelRef> {
    let rest = name.strip_prefix("UC").filter(|rest| rest.len() == 22 && rest.bytes().all(is_id_byte));
    if rest.is_some() {
        return Some(ChannelRef::Id(name.to_owned()));
    }
    let handle = name.strip_prefix('@')?;
    let fits = (1..=HANDLE_CHARS_MAX).contains(&handle.chars().count())
        && handle.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '·'));
    fits.then(|| ChannelRef::Handle(name.to_owned()))
}

impl fmt::Display for PlaylistId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Id(name) | Self::Handle(name)) = self;
        f.write_str(name)
    }
}

macro_rules! as_text {
    ($id:ty) => {
        impl TryFrom<String> for $id {
            type Error = RefError;

            fn try_from(text: String) -> Result<Self, RefError> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }
    };
}
as_text!(PlaylistId);
as_text!(ChannelRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_named_by_its_id_or_an_address_with_it() {
        let id = "PLOU2XLYxmsIKpaV8h0AGE05so0fAwwfTw";
        for text in [
            id.to_owned(),
            format!("https://www.youtube.com/playlist?list={id}"),
            format!("youtube.com/watch?v=dQw4w9WgXcQ&list={id}"),
        ] {
            assert_eq!(text.parse::<PlaylistId>().expect("a playlist").as_str(), id, "{text}");
        }
        let long = "P".repeat(65);
        for text in
            ["", "P", "a b", "PL*", "https://vimeo.com/?list=PL123", "youtube.com/playlist?list=", &long]
        {
            text.parse::<PlaylistId>().expect_err(text);
        }
        assert!("UU_x5XG1OV2P6uZZ5FSM9Ttw".parse::<PlaylistId>().expect("uploads").is_of_uploads());
    }

    #[test]
    fn a_channel_is_named_by_its_id_its_handle_or_an_address_of_either() {
        let id = ChannelRef::Id("UC_x5XG1OV2P6uZZ5FSM9Ttw".to_owned());
        let handle = |name: &str| ChannelRef::Handle(name.to_owned());
        for (text, expected) in [
            ("UC_x5XG1OV2P6uZZ5FSM9Ttw", id.clone()),
            ("https://www.youtube.com/channel/UC_x5XG1OV2P6uZZ5FSM9Ttw/videos", id),
            ("@googledevelopers", handle("@googledevelopers")),
            ("https://youtube.com/@googledevelopers/videos", handle("@googledevelopers")),
            ("youtube.com/@caf%C3%A9", handle("@café")),
        ] {
            assert_eq!(text.parse::<ChannelRef>().expect("a channel"), expected, "{text}");
        }
        for text in
            ["", "@", "UCshort", "@a b", "@a/b", "@a&id=x", "https://vimeo.com/@a", "youtube.com/c/name"]
        {
            text.parse::<ChannelRef>().expect_err(text);
        }
    }
}
