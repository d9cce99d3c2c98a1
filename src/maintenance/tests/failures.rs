//! Flushes and merges on a store that fails: nothing is lost, and nothing is left behind.

use super::*;

/// A store whose `put` fails from some call on: before or after it stores the object.
#[derive(Debug)]
struct Failing {
    inner: InMemory,
    puts_left: AtomicUsize,
    stores_all_the_same: bool,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let fails =
            self.puts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err();
        if fails {
            if self.stores_all_the_same {
                self.inner.put_opts(path, payload, options).await?;
            }
            return Err(object_store::Error::Generic { store: "Failing", source: "out of order".into() });
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_merge_whose_outputs_cannot_all_be_stored_leaves_none_of_them() {
    for stores_all_the_same in [false, true] {
        // Six puts: the index and the object of each of three outputs.
        for puts in 0..6 {
            let failing = Arc::new(Failing {
                inner: InMemory::new(),
                puts_left: AtomicUsize::new(usize::MAX),
                stores_all_the_same,
            });
            let bench = Bench::open(Arc::clone(&failing) as _).await;
            for part in [uneven(0..90), uneven(90..130), uneven(130..200)] {
                bench.add(&part).await;
            }
            failing.puts_left.store(puts, Ordering::SeqCst);
            assert_eq!(bench.compact(80).await.unwrap_err().kind(), crate::ErrorKind::Unavailable);
            assert_eq!(bench.objects().await, 3 * 2, "at put {puts}");
        }
    }
}

#[tokio::test]
async fn the_objects_of_a_merge_are_kept_while_its_commit_may_have_got_through() {
    let failing = Arc::new(Failing {
        inner: InMemory::new(),
        puts_left: AtomicUsize::new(usize::MAX),
        stores_all_the_same: false,
    });
    let bench = Bench::open(Arc::clone(&failing) as _).await;
    for part in [uneven(0..90), uneven(90..130), uneven(130..200)] {
        bench.add(&part).await;
    }
    failing.puts_left.store(6, Ordering::SeqCst);
    bench.compact(80).await.unwrap_err();
    assert_eq!(bench.objects().await, (3 + 3) * 2);
}

#[tokio::test]
async fn a_flush_whose_objects_cannot_be_stored_leaves_none_of_them() {
    for puts in 0..2 {
        let failing = Arc::new(Failing {
            inner: InMemory::new(),
            puts_left: AtomicUsize::new(puts),
            stores_all_the_same: true,
        });
        let bench = Bench::open(Arc::clone(&failing) as _).await;
        let directory = tempfile::tempdir().unwrap();
        let options = WalOptions::default();
        let log = FileLog::open(directory.path(), &Replay::default(), SequenceNumber(1), options).unwrap();
        let wal = Arc::new(Wal::start(Box::new(log), Box::new(|_| {})).unwrap());
        let flusher = Flusher::new(bench.ground.clone(), wal, crate::config::IndexSettings::default());
        let arrival = Arrival { batch: batch(&uneven(0..9)), claim: None, under_way: None };
        bench.live.durable(vec![(SequenceNumber(1), arrival)], 0);
        flusher.flush(ROWS_MAX).await.unwrap_err();
        assert_eq!(bench.objects().await, 0, "at put {puts}");
        failing.puts_left.store(usize::MAX, Ordering::SeqCst);
        assert!(flusher.flush(ROWS_MAX).await.unwrap().is_some());
        assert_eq!((bench.objects().await, bench.segments().await.len()), (2, 1));
    }
}

#[tokio::test]
async fn segments_that_cannot_be_merged_do_not_keep_the_others() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    for i in 0..8 {
        bench.add(&uneven(i * 10..i * 10 + 10)).await;
    }
    let damaged = bench.catalog.snapshot().segments[3].clone();
    bench.store.put(&Path::from(damaged.path()), "no Parquet".into()).await.unwrap();
    let (limits, stop) = (SegmentLimits::of_rows(1000), CancellationToken::new());
    let step = || bench.compactor.merge_step(limits, &stop);
    let error = step().await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
    for i in 8..16 {
        bench.add(&uneven(i * 10..i * 10 + 10)).await;
    }
    assert!(step().await.unwrap(), "new segments are merged without them");
    assert_eq!(bench.catalog.snapshot().segments.len(), 9);
    assert!(step().await.is_err(), "and then they are tried again");
    assert_eq!(bench.catalog.snapshot().segments.len(), 9);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_every_event_once() {
    let parts = [uneven(0..90), uneven(90..130), uneven(130..200)];
    for stores_all_the_same in [false, true] {
        let mut failures = 0;
        for puts in 0.. {
            let failing = Arc::new(Failing {
                inner: InMemory::new(),
                puts_left: AtomicUsize::new(usize::MAX),
                stores_all_the_same,
            });
            let store: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
            let bench = Bench::open(Arc::clone(&store)).await;
            for part in &parts {
                bench.add(part).await;
            }
            failing.puts_left.store(puts, Ordering::SeqCst);
            let failed = bench.compact(80).await.is_err();
            failures += usize::from(failed);
            failing.puts_left.store(usize::MAX, Ordering::SeqCst);
            assert_eq!(bench.events().await, all(&parts), "the process that failed, at put {puts}");

            let next = Bench::open(Arc::clone(&store)).await;
            next.sweeper.remove_orphans(Duration::ZERO).await.unwrap();
            assert_eq!(next.events().await, all(&parts), "the next process, put {puts}");
            assert_eq!(next.objects().await, 2 * next.catalog.snapshot().segments.len());
            next.compact(80).await.unwrap();
            assert_eq!(next.events().await, all(&parts), "the next compaction, put {puts}");
            assert_eq!(next.segments().await.len(), 3);
            if !failed {
                break;
            }
        }
        assert!(failures >= 3, "every put of segments and commit failed once: {failures}");
    }
}
