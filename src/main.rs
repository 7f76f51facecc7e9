//! Tradewind.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tradewind::sidecar::{serve, settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: settings::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = settings::Settings::new(cli.args).unwrap();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    serve::run(settings, |running| {
        let mut out = std::io::stdout();
        writeln!(out, "{:?} {:?}", running.grpc, running.debug).unwrap();
    })
    .unwrap()
}
