//! Power failures at chosen moments: what the simulation found, each on its own.

use super::*;
use crate::disk::simulated::{Crash, Kind, Machine};

const DATA: &str = "/srv/data";

/// A machine with a folder for the data directory.
fn machine(seed: u64) -> Machine {
    let machine = Machine::new(seed, MIDNIGHT);
    let disk = machine.start();
    disk.create_dir(Path::new("/srv")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    machine
}

async fn open_on_machine(machine: &Machine) -> Result<Arc<Store>, crate::Error> {
    Store::open_quietly(options(Path::new(DATA)), Arc::new(machine.start())).await
}

fn rows(store: &Store) -> usize {
    let snapshot = store.snapshot("flows").unwrap();
    let memory: usize = snapshot.memory.batches().unwrap().iter().map(|b| b.num_rows()).sum();
    memory + usize::try_from(snapshot.files.iter().map(|f| f.rows).sum::<u64>()).unwrap()
}

/// The program dies between the write of an entry and its sync; the next one replays the entry and
/// acknowledges its repetition; then the power fails.
#[tokio::test]
async fn a_replayed_entry_survives_the_next_power_failure() {
    for seed in 0..40 {
        let machine = machine(seed);
        let store = open_on_machine(&machine).await.unwrap();
        store.append(entry(source("a", 0), 0)).await.unwrap();
        if seed % 2 == 0 {
            // The frame's header and its payload are written, the sync is not reached.
            machine.crash_after(2, Crash::Program);
        } else {
            // Nor is it after a sync that failed: the next one reports success for nothing.
            machine.fail(Kind::Sync, 0, 1);
            machine.crash_after(3, Crash::Program);
        }
        store.append(entry(source("a", 1), 1)).await.unwrap_err();
        drop(store);
        let store = open_on_machine(&machine).await.unwrap();
        let replayed = rows(&store);
        let repeated = store.append(entry(source("a", 1), 1)).await.unwrap();
        assert_eq!(repeated == Appended::Repeated, replayed == 2, "seed {seed}");
        machine.crash(Crash::Power);
        drop(store);
        let store = open_on_machine(&machine).await.unwrap();
        assert_eq!(rows(&store), 2, "seed {seed}");
    }
}

/// The program dies after it made a partition folder; the next one commits a file in it.
#[tokio::test]
async fn a_folder_of_a_dead_program_does_not_take_committed_files_with_it() {
    let mut made = 0;
    for seed in 0..40 {
        let machine = machine(seed);
        let store = open_on_machine(&machine).await.unwrap();
        store.append(entry(None, 0)).await.unwrap();
        machine.crash_after(seed % 20, Crash::Program);
        store.flush().await.unwrap_err();
        drop(store);
        let folder = Path::new(DATA).join("tables/flows/date=2026-11-22/part=00");
        let store = open_on_machine(&machine).await.unwrap();
        made += usize::from(machine.peek_folder(&folder));
        store.flush().await.unwrap();
        machine.crash(Crash::Power);
        drop(store);
        let store = open_on_machine(&machine).await.unwrap();
        let files = store.snapshot("flows").unwrap().files;
        assert_eq!(files.len(), 1, "seed {seed}");
        for file in files.iter() {
            machine.peek(&Path::new(DATA).join("tables").join(file.path.as_ref())).unwrap();
        }
    }
    assert!(made > 0, "some died in between");
}

/// Whatever a power failure leaves of the first start, the next one takes the directory for its own.
#[tokio::test]
async fn a_first_start_that_is_cut_short_is_made_up_for() {
    for after in 0..30 {
        for seed in 0..8 {
            let machine = machine(seed);
            let disk = Arc::new(machine.start());
            machine.crash_after(after, Crash::Power);
            let first = Store::open_quietly(options(Path::new(DATA)), disk).await;
            assert!(first.is_err());
            let store = open_on_machine(&machine).await;
            store.unwrap_or_else(|e| panic!("after {after} operations, seed {seed}: {e}"));
        }
    }
}
