#![doc = include_str!("../README.md")]
// A program that prints a table: standard output and error are what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod contenders;
mod count;
mod crawl;
mod figure;
mod histogram;
mod load;
mod process;
mod report;
mod stats;
mod suite;
mod tls;
mod workloads;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use contenders::Contender;
use workloads::{Family, Scale, Workload};

/// rondel beside tokio, smol, monoio and a hand-written loop, at the same work.
#[derive(Parser, Debug)]
#[command(name = "rondel-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    inner: Option<Inner>,
    #[command(flatten)]
    suite: SuiteArgs,
}

#[derive(Args, Debug)]
struct SuiteArgs {
    /// In-process workloads only, or network workloads only.
    family: Option<Family>,
    /// Comma-separated contenders (default: all).
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = contenders::find)]
    runtime: Vec<&'static Contender>,
    /// Comma-separated workloads (default: all of the family).
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = workloads::find)]
    workload: Vec<&'static Workload>,
    /// Three rounds of short runs instead of nine of long ones.
    #[arg(long)]
    quick: bool,
    /// One JSON object a figure on standard output; the table goes to standard error.
    #[arg(long)]
    json: bool,
    /// How often each pair of contender and workload runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Name the workloads, their metrics and the contenders, and run nothing.
    #[arg(long)]
    list: bool,
    /// The length of one run, in place of what --quick says.
    #[arg(long, hide = true)]
    scale: Option<Scale>,
}

/// What the suite starts as processes of their own; by hand, they are for strace and callgrind.
#[derive(Subcommand, Debug)]
#[command(disable_help_subcommand = true)]
enum Inner {
    /// One run of one workload by one contender; a network workload serves until it is killed.
    #[command(hide = true)]
    Child {
        #[arg(value_parser = contenders::find)]
        runtime: &'static Contender,
        #[arg(value_parser = workloads::find)]
        workload: &'static Workload,
        #[arg(long, default_value = "full")]
        scale: Scale,
    },
    /// Starts the server given by COMMAND and puts one network workload on it.
    #[command(hide = true)]
    Load {
        #[arg(value_parser = workloads::find)]
        workload: &'static Workload,
        #[arg(long, default_value = "full")]
        scale: Scale,
        /// Ends after this many requests instead of after a time.
        #[arg(long)]
        requests: Option<u64>,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// The same crawl of the same site by the example's crawler, by reqwest on tokio, by aiohttp on uvloop.
    Crawl {
        #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        #[arg(long)]
        json: bool,
    },
    /// The site that is crawled.
    #[command(hide = true)]
    ServeSite,
    /// The crawler on tokio.
    #[command(hide = true)]
    CrawlByReqwest { url: url::Url },
    /// System calls and user-mode instructions per request, by strace and callgrind.
    #[command(hide = true)]
    Count {
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = contenders::find)]
        runtime: Vec<&'static Contender>,
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = workloads::find)]
        workload: Vec<&'static Workload>,
        /// The shorter of the two runs whose difference counts.
        #[arg(long, default_value_t = 4000)]
        requests: u64,
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.inner {
        None => run_suite(cli.suite),
        Some(Inner::Child {
            runtime,
            workload,
            scale,
        }) => suite::child(runtime, workload, scale),
        Some(Inner::Load {
            workload,
            scale,
            requests,
            command,
        }) => load::run(workload, scale, requests, &command),
        Some(Inner::Crawl { rounds, json }) => crawl::run(rounds, json),
        Some(Inner::ServeSite) => crawl::serve_site(),
        Some(Inner::CrawlByReqwest { url }) => crawl::crawl_by_reqwest(&url),
        Some(Inner::Count {
            runtime,
            workload,
            requests,
            json,
        }) => count::run(&runtime, &workload, requests, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rondel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_suite(args: SuiteArgs) -> Result<(), process::Error> {
    if args.list {
        print!("{}", report::listing());
        return Ok(());
    }
    let scale = match args.scale {
        Some(scale) => scale,
        None if args.quick => Scale::Quick,
        None => Scale::Full,
    };
    suite::run(&suite::Plan {
        contenders: contenders::selected(&args.runtime),
        workloads: workloads::selected(args.family, &args.workload),
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 9 }),
        scale,
        json: args.json,
    })
}
