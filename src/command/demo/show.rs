//! `tradewind demo` by itself: the whole story.

use std::io::Write;

use super::print::Printer;
use crate::command::output::Format;
use crate::command::{CommandError, Context, Exit};
use tradewind_demo::show::{self, DemoError, Plan, RATES, Record};

/// Arguments of the whole story.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// What chooses clients and objects
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        env = "TRADEWIND_DEMO_SEED"
    )]
    pub seed: u64,
    /// Requests per second from all clients together, 100 to 2000
    #[arg(long, value_name = "N", default_value_t = 600, env = "TRADEWIND_DEMO_RATE",
          value_parser = clap::value_parser!(u32).range(i64::from(*RATES.start())..=i64::from(*RATES.end())))]
    pub rate: u32,
    /// Leave out the slow node and be brief: under half a minute
    #[arg(long, env = "TRADEWIND_DEMO_QUICK")]
    pub quick: bool,
    /// How to tell it: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Runs the story, and prints it as it happens.
pub(super) fn run(
    args: &Args,
    context: &Context,
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    let plan = Plan {
        seed: args.seed,
        requests_per_second: args.rate,
        quick: args.quick,
        heeds_signals: true,
    };
    let mut printer = Printer::new(context.colour);
    let mut tell = |told: &Record| {
        match args.format {
            Format::Json => {
                serde_json::to_writer(&mut *out, told)?;
                out.write_all(b"\n")?;
            }
            Format::Text => out.write_all(printer.lines(told).as_bytes())?,
        }
        // Somebody watches.
        out.flush()
    };
    let end = show::run(plan, &mut tell).map_err(|error| match error {
        DemoError::Output(error) => CommandError::Output(error),
        error => error.into(),
    })?;
    Ok(if end.held { Exit::Good } else { Exit::Refused })
}
