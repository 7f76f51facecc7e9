//! The `tradewind` command.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tradewind::command::date::Date;
use tradewind::command::{self, Cli, Command, Context, Exit, Tool};
use tradewind::sidecar::{clock, serve, settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => serve(*args),
        Command::Tool(tool) => run(&tool, cli.no_color),
    }
}

/// Stand-in for what the sidecar's session writes.
fn serve(args: settings::Args) -> ExitCode {
    let Ok(settings) = settings::Settings::new(args) else {
        return Exit::Usage.into();
    };
    serve::run(settings, |_| {}).unwrap_or(Exit::Usage.into())
}

fn run(tool: &Tool, no_color: bool) -> ExitCode {
    let context = Context {
        today: Date::from_unix_ms(clock::unix_ms()),
        now: clock::now,
        colour: !no_color && io::stdout().is_terminal(),
        progress: io::stderr().is_terminal(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match command::run(tool, &context, &mut out) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_broken_pipe() => Exit::Good.into(),
        Err(error) => {
            let colour = !no_color && io::stderr().is_terminal();
            // What is printed so far comes first. When neither stream takes anything, the status still tells.
            drop(out.flush());
            drop(io::stderr().write_all(error.render(colour).as_bytes()));
            error.exit().into()
        }
    }
}
