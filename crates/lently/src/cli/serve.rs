//! `lently serve`: the HTTP API until a signal comes.

use std::net::SocketAddr;

use super::{CliError, configured, tell};
use crate::{app::App, http};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lently serve --listen 127.0.0.1:8080")]
pub(super) struct Args {
    /// Where to listen, instead of LENTLY_LISTEN; loopback only.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let mut config = configured(false)?;
    config.listen = args.listen.unwrap_or(config.listen);
    let listener = http::bind(config.listen).await.map_err(|error| CliError::of(&error))?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let app = App::open(config).await.map_err(|error| CliError::of(&error))?;
    app.tasks.shutdown_on_signals();
    tell(&format!("Lently serves on http://{address}/ (Ctrl-C stops it)"));
    http::serve(app, listener).await.map_err(|error| CliError::of(&error))
}
