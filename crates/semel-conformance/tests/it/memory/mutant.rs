//! What can be wrong with an adapter.

/// One thing that is wrong with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing is.
    None,

    // Items and versions.
    VersionsRestart,
    VersionIsTheValue,
    ReadsAreRemembered,
    SpacesMeet,
    KeysIgnoreCase,
    KeysEndAtNul,
    AbsentIsEmpty,
    EmptyValueIsAbsent,
    LongKeysAreCut,
    HandleTakesAllAlong,

    // Conditions and batches.
    CreateOverwrites,
    OldVersionWins,
    AnythingExpectsAnItem,
    DeleteChecksNothing,
    ConflictWritesTheRest,
    ConflictNamesTheFirst,
    LimitsAreIgnored,
    LargestIsRefused,
    ItemTwiceIsApplied,
    EmptyBatchIsRefused,
    VersionsInReverse,
    WriteIsTwoSteps,
    ChangesAreApart,

    // Windows and listing.
    WindowEndsEarly,
    WindowIsThatOfTheCreate,
    ExpiredBlocksCreate,
    ListingJoinsKeys,
    ListingRepeatsTheLast,
    ListingIgnoresLimit,
    ListingShowsAllSpaces,
    ListingIsOld,
    UnsupportedIsEmpty,
    QueueElsewhereIsDropped,

    // Receiving and leases.
    NewestFirst,
    MaxIsIgnored,
    ReceiveMaxIsIgnored,
    ReceiveNeverWaits,
    ReceiveWaitsForever,
    ReceiveTakesOutForGood,
    LeaseIsIgnored,
    LeaseNeverEnds,
    ReceiptStays,
    NumbersAreReused,
    ExtendChangesTheReceipt,
    ExtendDoesNothing,
    ExtendAddsUp,
    ExtendNeverLoses,
    ExtendStopsAtLost,

    // Settling.
    StaleReceiptSettles,
    ReturnedReceiptSettles,
    AckReturns,
    DeadLetterReturns,
    WaitIsIgnored,
    RetryForgetsTheFailure,
    ReleaseIsBlamed,
    HistoryIsUnbounded,
    HistoryKeepsTheOldest,
    DeliveriesAreLimited,
    SettleIsTwoSteps,
    SettleTouchesTheBatch,

    // Sending.
    ExtensionsAreText,
    DataIsTrimmed,
    SentTwiceIsDropped,
    UnservedIsDropped,
    EndpointsByPrefix,
    DelayIsIgnored,
    OversizeSpoilsTheBatch,
    OversizeIsSent,
    EmptySendIsAnswered,
    BatchGoesToTheFirst,

    // Subscriptions.
    NobodySubscribedIsRefused,
    RegistrationAdds,
    CopyPerRegistration,
    SubscribersByPrefix,
    CopiesAreOneMessage,

    // Order.
    OrderIsIgnored,
    OrderForgetsTheLeased,
    OrderForgetsTheWaiting,
    OrderForgetsTheEnded,
    OrderHoldsBehindDead,
    KeysHoldUpEachOther,
    EndpointsHoldUpEachOther,
    OrderWithoutOffer,

    // The queue in the store.
    BatchIgnoresReceipts,
    ConflictSettles,
    ConflictQueues,
    OversizeIsLeftOut,
    BatchForgetsTheFailure,
    BatchQueuesInReverse,
    BatchSettlesTheFirst,
    DeliveryTwiceIsApplied,

    // The operator.
    DeadReceiptStays,
    DeadReceiptAges,
    DeadHasALease,
    ReplayForgetsHistory,
    ReplayForgetsItsWait,
    RemovalReplays,
    ReasonIsForgotten,
    RawIsEncoded,
    DeadSinceIsNow,
    DeadPagesRepeat,
    AliveIsListed,
    LookingRenewsReceipts,
    EndedLeaseIsInFlight,
    DelayedIsReady,
    OldestIsTheYoungest,
    RegisteredOnceForAll,
    EmptyPlaceReportsItself,
    InboxIsEntities,
}
