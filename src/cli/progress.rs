//! A progress bar for long reading, on a terminal.

use crate::catalog::scan::{Scan, Want};
use crate::catalog::select::Selection;
use crate::env::store::Store;
use crate::format::key::Dest;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nothing is shown of what is over by then.
const LONG: Duration = Duration::from_secs(1);
/// How often it moves.
const STEP: Duration = Duration::from_millis(200);

/// The bar, if there is one: where lines go to a file or a pipe, and messages to a terminal.
pub struct Bar {
    drawn: Option<(ProgressBar, [JoinHandle<()>; 2])>,
}

impl Bar {
    /// Begins it. `counted` grows by the bytes that are fetched; how many there will be is found out beside.
    pub fn begin(store: &Arc<dyn Store>, dest: &Dest, selection: &Selection, counted: &Arc<AtomicU64>) -> Self {
        if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
            return Self { drawn: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(
            "{elapsed_precise} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
        ));
        let total = tokio::spawn(total(Arc::clone(store), dest.clone(), selection.clone(), bar.clone()));
        let moves = tokio::spawn(follow(bar.clone(), Arc::clone(counted)));
        Self { drawn: Some((bar, [total, moves])) }
    }

    /// Takes it away.
    pub fn end(self) {
        if let Some((bar, tasks)) = self.drawn {
            tasks.iter().for_each(JoinHandle::abort);
            bar.finish_and_clear();
        }
    }
}

/// How many keys were looked at, where messages go to a terminal.
pub fn keys() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style("{elapsed_precise} {human_pos} keys, {per_sec}"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Adds up what is asked for.
async fn total(store: Arc<dyn Store>, dest: Dest, selection: Selection, bar: ProgressBar) {
    let mut scan = Scan::new(&*store, &dest, &selection, Want::Objects);
    let mut sum = 0;
    // What fails here fails there, and is said there.
    while let Ok(Some(entry)) = scan.next().await {
        sum += entry.len;
        bar.set_length(sum);
    }
}

async fn follow(bar: ProgressBar, counted: Arc<AtomicU64>) {
    tokio::time::sleep(LONG).await;
    bar.set_draw_target(ProgressDrawTarget::stderr());
    loop {
        bar.set_position(counted.load(Ordering::Relaxed));
        bar.tick();
        tokio::time::sleep(STEP).await;
    }
}
