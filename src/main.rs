//! The `tradewind` command.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tradewind::command::{self, Cli, Command, Context, Exit, Size, Tool};
use tradewind::engine::date::Date;
use tradewind::sidecar::clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => {
            let program = std::env::args_os().next().unwrap_or_default();
            command::serve::run(*args, Path::new(&program), !cli.no_color)
        }
        Command::Tool(tool) => run(&tool, cli.no_color),
    }
}

fn run(tool: &Tool, no_color: bool) -> ExitCode {
    let context = Context {
        today: Date::from_unix_ms(clock::unix_ms()),
        now: clock::now,
        colour: !no_color && io::stdout().is_terminal(),
        progress: io::stderr().is_terminal(),
        size: terminal,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match command::run(tool, &context, &mut out, &mut io::stderr()) {
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

/// The size of the terminal that standard output is.
fn terminal() -> Option<Size> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())?;
    Some(Size {
        columns: usize::from(width.0),
        rows: usize::from(height.0),
    })
}
