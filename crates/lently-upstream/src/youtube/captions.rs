//! Transcripts by the one way YouTube's terms allow: an owner's OAuth token. Nothing here scrapes.

use std::sync::atomic::AtomicU64;

use super::{Auth, LONGEST_HINT, YouTubeClient, wire};
use crate::{
    bucket::Method,
    error::UpstreamError,
    model::{Call, CaptionTrack, Segment, Transcript},
    transport,
    video_ref::VideoId,
};

impl YouTubeClient {
    /// The caption tracks of a video; 50 units and the owner's OAuth token.
    ///
    /// # Errors
    /// [`UpstreamError::MissingKey`] without a token, and as every call.
    pub async fn captions(&self, video_id: &VideoId) -> Result<Call<Vec<CaptionTrack>>, UpstreamError> {
        let query = [("part", "snippet".to_owned()), ("videoId", video_id.to_string())];
        let call: Call<wire::List<wire::Caption>> = self.list(Method::Captions, &query, &Auth::OAuth).await?;
        Ok(call.map(|list| {
            let tracks = list.items.into_iter().map(|caption| CaptionTrack {
                id: caption.id,
                language: caption.snippet.language,
                name: caption.snippet.name,
                automatic: caption.snippet.track_kind.eq_ignore_ascii_case("asr"),
            });
            tracks.collect()
        }))
    }

    /// One track as segments; 200 units and the owner's OAuth token. `language` asks for a machine translation.
    ///
    /// # Errors
    /// As [`captions`](Self::captions).
    pub async fn download_caption(
        &self,
        id: &str,
        language: Option<&str>,
    ) -> Result<Call<Vec<Segment>>, UpstreamError> {
        let safe = !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='));
        if !safe {
            return Err(UpstreamError::BadRequest {
                reason: "the caption id has other characters in it".to_owned(),
            });
        }
        let mut query = vec![("tfmt", "srt".to_owned())];
        query.extend(language.map(|language| ("tlang", language.to_owned())));
        let method = Method::CaptionDownload;
        let (path, spent) = (format!("{}/{id}", method.path()), AtomicU64::new(0));
        let call = || self.ask(method, &path, &query, &Auth::OAuth, &spent);
        let attempts = self.0.config.max_attempts;
        let reply =
            transport::with_retries(attempts, LONGEST_HINT, UpstreamError::is_retryable, call).await?;
        let value = parse_srt(&String::from_utf8_lossy(&reply.body));
        Ok(Call { value, units: spent.into_inner() })
    }

    /// The transcript in `language`, or in the first track's; one written by people is preferred. 250 units.
    ///
    /// # Errors
    /// As [`captions`](Self::captions); [`UpstreamError::VideoNotFound`] if there is no such track.
    pub async fn transcript(
        &self,
        video_id: &VideoId,
        language: Option<&str>,
    ) -> Result<Call<Transcript>, UpstreamError> {
        let tracks = self.captions(video_id).await?;
        let wanted = tracks
            .value
            .iter()
            .filter(|track| language.is_none_or(|language| track.language.eq_ignore_ascii_case(language)));
        let track = wanted.min_by_key(|track| track.automatic).ok_or(UpstreamError::VideoNotFound)?;
        let segments = self.download_caption(&track.id, None).await?;
        Ok(Call {
            units: tracks.units + segments.units,
            value: Transcript { language: track.language.clone(), segments: segments.value },
        })
    }
}

/// Reads SubRip or WebVTT; what is not a cue is passed over.
fn parse_srt(text: &str) -> Vec<Segment> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    text.split("\n\n").filter_map(cue).collect()
}

fn cue(block: &str) -> Option<Segment> {
    let mut lines = block.lines().skip_while(|line| !line.contains("-->"));
    let (start, end) = lines.next()?.split_once("-->")?;
    let start_seconds = clock_seconds(start)?;
    let end_seconds = clock_seconds(end.trim().split(' ').next()?)?;
    let text = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(Segment {
        start_seconds,
        duration_seconds: (end_seconds - start_seconds).max(0.0),
        text,
    })
}

/// `00:01:02,500`, `00:01:02.500` or `01:02.500`.
fn clock_seconds(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', ".");
    let seconds =
        text.split(':').try_fold(0.0, |sum, part| part.parse::<f64>().ok().map(|part| sum * 60.0 + part))?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subrip_and_webvtt_are_read() {
        let srt = "1\r\n00:00:00,000 --> 00:00:01,540\r\nHello\r\nthere\r\n\r\n2\r\n00:01:02,500 --> 00:01:03,000\r\nBye\r\n";
        let segments = parse_srt(srt);
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].text, "Hello there");
        assert!(
            (segments[1].start_seconds - 62.5).abs() < 1e-9
                && (segments[1].duration_seconds - 0.5).abs() < 1e-9
        );
        let vtt = "WEBVTT\n\n01:02.500 --> 01:03.000 align:start\nBye\n";
        assert_eq!(parse_srt(vtt)[0].text, "Bye");
        assert!(parse_srt("garbage --> more").is_empty());
    }
}
