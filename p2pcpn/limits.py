"""Every bound, with the sum behind it. Nothing that a peer can grow grows past one of these.

Sizes are bytes, times seconds, unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

# --- Datagrams (control plane) -------------------------------------------------------------------------------------
# IPv6 guarantees 1,280 bytes without fragmentation; less 40 (IPv6) and 8 (UDP) and room for one tunnel header: 1,200.
DATAGRAM_BYTES_MAX: Final = 1200
# version 1 + kind 1 + sender 20 + recipient 20 + boot 6 + sequence 8 = 56 ahead of the body, a 16-byte MAC behind it.
ENVELOPE_BYTES: Final = 72
BODY_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - ENVELOPE_BYTES  # 1,128
# 20 contacts of (2+20 id, 2+16 IPv6 address, 3 port, 1 array) = 44 bytes each make 880; ids and nonce fit beside.
CONTACTS_MAX: Final = 20
# A record's value. With owner key 32, salt <= 64, signature 64, seq, cas, expiry and envelope it stays under 1,200.
RECORD_VALUE_BYTES_MAX: Final = 768
SALT_BYTES_MAX: Final = 64
# A rumor is one signed statement; one of them always fits a datagram (Advert is the largest).
RUMOR_BYTES_MAX: Final = 1000
RUMORS_PER_DATAGRAM_MAX: Final = 16
RUMOR_DIGESTS_MAX: Final = 100  # 8 bytes (+2) per entry: 1,000
# The datagrams that wait between the socket and the machines: 2,048 of at most 1,200 bytes are 2.4 MB.
INBOX_DATAGRAMS_MAX: Final = 2048

# --- Sessions (bulk plane) ----------------------------------------------------------------------------------------
FRAME_BYTES_MAX: Final = 1 << 20
# A segment of at most 4 MiB of tasks plus its digests, or a log segment of at most 4 MiB, fits one message.
MESSAGE_BYTES_MAX: Final = 16 << 20
SESSIONS_MAX: Final = 512
# Peers that the submitter of a hybrid job leases to before its stewards lease, too: each holds a session, and a quarter
# of those a node has is left for stewards, storage peers and whoever claims until they do.
GRANTOR_PEERS: Final = 384

# --- Jobs ---------------------------------------------------------------------------------------------------------
SEGMENT_TASKS_MAX: Final = 4096
SEGMENT_BYTES_MAX: Final = 4 << 20
# A page is the unit of encryption and of leasing bytes, sent once to a peer: large enough that hashing and sealing cost
# under 0.1 us a task, small enough that a peer which runs one of its tasks is not sent megabytes of others. A page is
# closed when it holds this many tasks or PAGE_BYTES of them; the largest holds PAGE_BYTES and one more task of any size
# that may stand inline, each function once.
PAGE_TASKS_MAX: Final = 256
PAGE_BYTES: Final = 64 << 10
PAGE_BYTES_MAX: Final = 1 << 20
PAGES_PER_SEGMENT_MAX: Final = SEGMENT_TASKS_MAX
# Arguments, functions and results above this are blobs.
INLINE_BYTES_MAX: Final = 16 << 10
LOG_SEGMENT_BYTES_MAX: Final = 4 << 20
LOG_SEGMENT_WAIT_S: Final = 0.1
# Of a grantor's log, refused by its own disk, in memory for later holders: sixteen of the largest segments.
LOG_REFUSED_BYTES_MAX: Final = 16 * LOG_SEGMENT_BYTES_MAX
LOG_HEAD_WAIT_S: Final = 1.0
# 40 bytes a steward's contact and key and 80 a wrapped job key: a spec stays far below one message.
STEWARDS_MAX: Final = 16
STEWARDS: Final = 5
REPLICAS_MAX: Final = 16
TASKS_PER_JOB_MAX: Final = 1 << 40
BATCH_TASKS_MAX: Final = 4096
BLOB_BYTES_MAX: Final = 1 << 32
BLOB_PART_BYTES: Final = 256 << 10
RETENTION_S: Final = 7 * 86400.0
RETENTION_S_MAX: Final = 366 * 86400.0
LEASE_S: Final = 30.0
RENEW_S: Final = 10.0
# The longest text a peer may hand us to show: an exception's words, a decline's reason.
REASON_CHARS_MAX: Final = 200
REQUIREMENTS_MAX: Final = 24
REQUIREMENT_CHARS_MAX: Final = 24

# --- What one peer remembers ---------------------------------------------------------------------------------------
NEIGHBOURHOOD_MAX: Final = 32
# 300 bytes a pair: 4,096 pairs are 1.2 MB; the least recently heard is forgotten first.
PAIRS_MAX: Final = 4096
ADVERTS_MAX: Final = 4096
OFFERS_MAX: Final = 1024
# Peers that failed in a runtime since they last succeeded in it: 500 bytes each, the longest untouched forgotten first.
BREAKERS_MAX: Final = 4096
# Of these a grantor tells whoever asks how a job stands, 250 bytes each.
SHUT_OUT_SHOWN_MAX: Final = 32
JOBS_PER_PEER_MAX: Final = 4096
RECORDS_MAX: Final = 100_000
RECORDS_PER_OWNER_MAX: Final = 4096
RECORD_RETENTION_S_MAX: Final = RETENTION_S_MAX
# A record's signed times may be off by this much: clocks of volunteers are.
CLOCK_TOLERANCE_S: Final = 600.0

# --- Sessions: handshake, frames, connections ----------------------------------------------------------------------
# Message 2 is the largest: 32 e + 48 s + 16 tag + 60 profile = 156; the rest is room for fields of later versions.
HANDSHAKE_BYTES_MAX: Final = 512
# Small messages share a frame up to here; 64 KiB are 640 messages of 100 bytes, sealed for 0.03 us each.
FRAME_BATCH_BYTES: Final = 64 << 10
# A large message is cut into parts of this size: sealing, sending and opening overlap, and a part fits the L2 cache. A
# part of a blob and what is said of it fit one.
FRAME_PART_BYTES: Final = (256 << 10) + 1024
# What is read from a session at a time, into memory that all sessions of a node share.
SESSION_READ_BYTES: Final = 1 << 20
# A message has at most 16 MiB / 16 KiB = 1,024 parts to remember.
FRAME_PART_BYTES_MIN: Final = 16 << 10
HALF_OPEN_MAX: Final = 64
HALF_OPEN_PER_HOST_MAX: Final = 16
MESSAGE_1_WAIT_S: Final = 2.0
HANDSHAKE_WAIT_S: Final = 5.0
# Unread by the other end: 16 of the largest log segments. A sender looks at ``Session.writable`` long before.
SESSION_UNSENT_BYTES_MAX: Final = 64 << 20
# Half a millisecond of the loopback; the system's own buffers come on top. 64 peers that read nothing cost 48 MiB.
SESSION_UNSENT_BYTES_HIGH: Final = 1 << 19
# Delivered messages that the consumer holds: reading pauses above this, one session's largest message may overshoot it.
SESSION_HELD_BYTES_MAX: Final = 8 << 20
# Incomplete messages of all sessions together: two of the largest, or some dozen honest transfers at a time.
SESSIONS_PENDING_BYTES_MAX: Final = 32 << 20
SESSION_LINGER_S: Final = 2.0

# --- Runtime `function` and what travels for it ---------------------------------------------------------------------
# What one task may print (Python level and, counted apart, descriptor level): 256 batches of one task are 256 MB.
TASK_OUTPUT_BYTES_MAX: Final = 1 << 20
# What a running task leaves for the next run of it: one state (larger ones are the business of blobs), how often one
# travels at most (0.5 MiB/s a slot), and all states of a job at its grantor, or that wait at a worker for their leases:
# 256 of the largest.
CHECKPOINT_BYTES_MAX: Final = 256 << 10
CHECKPOINT_S: Final = 0.5
CHECKPOINTS_BYTES_MAX: Final = 64 << 20
RESUMES_MAX: Final = 4096
# States on their way to a job's stewards: one message a second to each, 1 MiB and one state at most, and no more rows
# than a disk writes in some milliseconds. Five stewards are sent 6 MiB/s by the busiest job, and mostly a few KiB/s.
SAFEKEEP_S: Final = 1.0
SAFEKEEP_BYTES: Final = 1 << 20
SAFEKEEP_STATES_MAX: Final = 256
# One pickled result. A blob may be larger (4 GiB); a result passes the peer's memory, and 1 GiB is what that bears.
TASK_RESULT_BYTES_MAX: Final = 1 << 30
# An exception in words: 2,000 characters of text, 16,000 of traceback (some 200 frames), 1 MiB of pickled arguments.
FAILURE_TEXT_CHARS_MAX: Final = 2000
FAILURE_TRACEBACK_CHARS_MAX: Final = 16_000
FAILURE_PICKLE_BYTES_MAX: Final = 1 << 20
# What `job show` prints of a result that it never unpickles: two lines of a terminal.
RENDERING_CHARS_MAX: Final = 200
# A project's own source: 4,096 modules of 2 KiB compressed; unpacked it may be eight times that, no zip bomb.
BUNDLE_BYTES_MAX: Final = 8 << 20
BUNDLE_UNPACKED_BYTES_MAX: Final = 64 << 20
BUNDLE_FILES_MAX: Final = 4096
# 64 bundles of 8 MiB and 64 MiB unpacked are 4.6 GB of disk at the very worst; the least recently used goes first.
BUNDLES_MAX: Final = 64
# Loaded functions one worker keeps: by number, and by bytes of their pickles (a closure over a model is large).
FUNCTIONS_KEPT_MAX: Final = 256
FUNCTIONS_KEPT_BYTES_MAX: Final = 64 << 20
# A warm worker costs some 8 MB of its own: it waits five minutes for the next batch of its owner and project.
WORKER_IDLE_S: Final = 300.0

# --- Pairs: the datagram handshake and who we share a key with ------------------------------------------------------
# Hellos of ours that wait for an answer, and the messages that wait behind each: 512 x 16 x 1.2 KB are 9.8 MB at worst.
HELLOS_MAX: Final = 512
PAIR_QUEUE_MAX: Final = 16
# A hello is sent at 0, 0.25, 0.75 and 1.75 s and fails at 3.75 s; a cookie between starts the count anew, once signed.
HELLO_WAIT_S: Final = 0.25
HELLO_TRIES: Final = 4
# The most signatures that one hello may cost us, made or checked: whoever answers it cannot keep us computing.
HELLO_SIGNATURES_MAX: Final = 6
# Largest reply to a hello: Welcome, 170 bytes of body. Every hello is padded above that, so that no reply is larger.
HELLO_BODY_BYTES: Final = 224
# A cookie is good for the minute it was made in and the next one: 60 to 120 s.
COOKIE_S: Final = 60.0
# As in IPsec and WireGuard: a datagram may come up to 1,023 behind the newest of its pair, once.
REPLAY_WINDOW: Final = 1024
# A hello costs its receiver some 0.15 ms (verify, agree, sign): 500 a second are 7.5 % of a core, whoever sends them.
HELLOS_PER_S: Final = 500.0
# One network group may spend a fifth of that, after a burst of as many (a rack that starts at once).
HELLOS_PER_GROUP_PER_S: Final = 100.0
HELLO_GROUPS_MAX: Final = 1024
# "I do not know you" for datagrams of unknown pairs: 85 bytes each, 17 KB/s in all.
RESETS_PER_S: Final = 200.0
# Silent pairs are forgotten: calm ones speak each 640 s, a record's holders each 2,400, two in each other's full far
# buckets each 12,000 (six of twenty in an hour). A stale one costs a greeting: after 3,600 s each of theirs did.
PAIR_SILENT_S: Final = 14_400.0
# A proven address that was heard from within this time is given up for no other; another one is asked no more often.
ADDRESS_PROVEN_S: Final = 5.0
# The answers of the last so many peers decide which address of ours is seen from outside.
OBSERVERS_MAX: Final = 16

# --- The UDP endpoint ----------------------------------------------------------------------------------------------
# Handed on per turn of the event loop, at some 20 us each: 128 hold everything else up for 2.6 ms at most.
INBOX_BATCH_MAX: Final = 128
# Asked of the system for its own buffer; it may give less. A burst of 1,000 of the largest datagrams waits there.
SOCKET_BUFFER_BYTES: Final = 2 << 20

# --- The disk of one peer ------------------------------------------------------------------------------------------
# What waits to be written: four messages of the largest size, or 64,000 receipts of 1 KB (two seconds of a slow disk).
STORE_QUEUE_BYTES_MAX: Final = 4 * MESSAGE_BYTES_MAX
# One sweep of what has expired: 4,096 rows of 1 KB are deleted in 0.1 s, and nobody else's commit waits for longer.
EXPIRED_ROWS_MAX: Final = 4096
# Copies of a corrupt database that are kept for its owner to look at.
CORRUPT_COPIES_MAX: Final = 3
# An inode and a directory entry each; 131,072 of the smallest are found again in half a second when a peer starts.
BLOBS_MAX: Final = 1 << 17
DISK_BYTES: Final = 20 << 30
# One open file and one part in memory each: 64 are 16 MiB. One source has a quarter of them, so that four can send.
BLOBS_UNFINISHED_MAX: Final = 64
BLOBS_UNFINISHED_PER_SOURCE_MAX: Final = BLOBS_UNFINISHED_MAX // 4
# A sender that is silent for four leases has gone; what it left is removed.
BLOB_UNFINISHED_S: Final = 4 * LEASE_S
# A key file holds 77 bytes; what is larger is something else, and is not read.
KEY_FILE_BYTES_MAX: Final = 1024

# --- The overlay: table, lookups, records, gossip, membership -----------------------------------------------------
# RFC 6298's estimate, 100 bytes a peer: 4,096 are 0.4 MB. Below 20 ms a busy loopback peer looks dead; above 3 s the
# third try of a request would outlive the lease it is about.
ROUNDTRIPS_MAX: Final = 4096
RTO_INITIAL_S: Final = 0.3
RTO_FLOOR_S: Final = 0.02
RTO_CEILING_S: Final = 3.0
# At 10 % loss each way an exchange fails with 19 %; four tries fail with 0.13 %.
REQUEST_TRIES: Final = 4
# 64 operations of at most 15 queries each, those that nobody waits for any more, and pings beside them.
REQUESTS_MAX: Final = 4096
# k of Kademlia: twenty peers must leave within an hour for a record to be lost between two refreshes.
BUCKET_PEERS: Final = 20
GROUP_PEERS_IN_TABLE_MAX: Final = 3
GROUP_PEERS_IN_BUCKET_MAX: Final = 2
# A peer that failed is not asked again for 30 s, then twice that, up to a quarter of an hour.
DEAD_PEERS_MAX: Final = 4096
DEAD_S: Final = 30.0
DEAD_S_MAX: Final = 900.0
REFRESH_S: Final = 3600.0
# What one lookup remembers: 12 replies of 20 contacts. What is farther than those cannot become one of the nearest 20.
LOOKUP_PEERS_MAX: Final = 256
# Asked at a time by each path of a lookup; three paths ask six, and where many are silent fifteen.
ALPHA: Final = 2
ALPHA_MAX: Final = 5
OPERATIONS_MAX: Final = 64
OPERATIONS_WAITING_MAX: Final = 16_384
REPUBLISHES_MAX: Final = 4
RECORD_COPIES_MIN: Final = 5
RECORD_COPIES: Final = 8
# A tenth of the whole: ten networks together must be hostile to fill a holder.
RECORDS_PER_GROUP_MAX: Final = RECORDS_MAX // 10
PUBLISHED_RECORDS_MAX: Final = RECORDS_PER_OWNER_MAX
# 1.1 KB a rumor: 4,096 are 4.5 MB; ids alone are remembered longer (100 bytes: 1.6 MB), so that none comes twice.
RUMORS_MAX: Final = 4096
RUMORS_SEEN_MAX: Final = 16_384
RUMOR_S: Final = 240.0
RUMOR_SEEN_S: Final = 600.0
# Fanout 3 for four rounds reached all of 10,000 peers at 5 % loss in ln(10,000) / ln(3) = 9 hops; 16 leave room.
FANOUT: Final = 3
RUMOR_ROUNDS: Final = 4
RUMOR_ROUND_S: Final = 0.1
RUMOR_HOPS_MAX: Final = 16
RIDERS_MAX: Final = 128  # each is looked at for every ping, 50 us for all; at rest some five ride
# 8 datagrams to each of 3 peers, ten times a second: 288 KB/s when everything speaks at once.
RUMOR_DATAGRAMS_PER_ROUND: Final = 8
PUSH_PULL_S: Final = 10.0
# 55 us each: 2,000 a second are 11 % of a core. One sender has a quarter of it.
RUMOR_VERIFIES_PER_S: Final = 2000.0
RUMOR_VERIFIES_PER_SENDER_PER_S: Final = 500.0
OFFERS_PER_OWNER_PER_S: Final = 5.0
OFFERS_PER_OWNER_BURST: Final = 20.0
BUDGETS_MAX: Final = 1024
# SWIM: one probe a period; helpers k = 3; probes for others that run at once, 200 bytes each.
PROBE_IDLE_S: Final = 5.0
PROBE_BUSY_S: Final = 1.0
PROBE_HELPERS: Final = 3
PROBE_RELAYS_MAX: Final = 64
# Each asks at most five requests of REQUESTS_MAX.
PROBES_MAX: Final = 768
# Rumors of suspicion make us ask at most so many neighbours a second.
RUMORED_PROBES_PER_S: Final = 10.0
CHECK_S: Final = 0.9

# --- A worker's jobs, a steward's shelf, and lines ------------------------------------------------------------------
# 16 stewards of 200 bytes, 24 package names and the words are 5 KB: room for the fields of later versions.
SPEC_BYTES_MAX: Final = 16 << 10
# 4,096 pages of 37 bytes and 4,096 blobs of 34 are 291 KB.
SEGMENT_HEAD_BYTES_MAX: Final = 512 << 10
# Sealed pages a worker keeps for further leases: sixteen segments of a job, four jobs at full width at a time.
PAGES_BYTES_PER_JOB_MAX: Final = 64 << 20
PAGES_BYTES_MAX: Final = 256 << 20
# One grantor has at most a quarter of the jobs that a peer works for.
JOBS_PER_GRANTOR_MAX: Final = JOBS_PER_PEER_MAX // 4
# Owners who have no work here now and whose use of the slots is remembered, 100 bytes each.
OWNERS_AWAY_MAX: Final = 1024
# A grantor leases at most slots x 4,096 tasks ahead (see pace.py); twice that is no mistake any more.
QUEUED_TASKS_PER_SLOT_MAX: Final = 2 * BATCH_TASKS_MAX
QUEUED_BYTES_MAX: Final = 512 << 20
QUEUED_BYTES_PER_JOB_MAX: Final = QUEUED_BYTES_MAX // 4
# What a queued task costs beside its bytes.
QUEUED_TASK_BYTES: Final = 64
# Results in memory that nobody acknowledged: a second of 64 MB/s. Their rows on disk stay.
UNSETTLED_BYTES_MAX: Final = 64 << 20
UNSETTLED_MAX: Final = 65_536
# Output that goes with a receipt: with 256 values of 16 KiB a page of results stays below one message.
RECEIPT_OUTPUT_BYTES_MAX: Final = 4 << 20
# Handovers of one job that are remembered: as many as there may be logs of its submitter, who signs each.
EPOCHS_MAX: Final = 256
# A handover is 80 bytes; 256 of them with their envelopes are 48 KB of a steward's row.
HANDOVER_BYTES_MAX: Final = 128
# Rounds of epochs that may have gone by unheard: with three stewards 256 grantors in a row.
ROUNDS_AHEAD_MAX: Final = 64
# Logs of one grantor of a job: a laptop that sleeps each night for most of a year; and of all, if sixteen stewards lie.
LOGS_PER_GRANTOR_MAX: Final = 256
LOGS_PER_JOB_MAX: Final = 16 * LOGS_PER_GRANTOR_MAX
# Epochs that stewards may take by themselves: one each three seconds for a month. The last number leaves none after it.
TAKEOVER_EPOCH_MAX: Final = 1 << 20
# Grantors of earlier epochs that still bring their logs to the holders: one object of a few KB each.
FORMER_GRANTORS_MAX: Final = 64
# Disk that a steward gives, in all and to one owner (or, for jobs it does not know, to one grantor).
STEWARD_BYTES_MAX: Final = DISK_BYTES * 2 // 5
STEWARD_BYTES_PER_OWNER_MAX: Final = STEWARD_BYTES_MAX // 2
# A row costs its key, its place in an index and half a page of the file beside its bytes.
STEWARD_ROW_BYTES: Final = 512
JOBS_PER_OWNER_MAX: Final = JOBS_PER_PEER_MAX // 4
# Owners who are not trusted have a quarter of a steward's jobs and disk, each network group of them a quarter of that;
# of the disk for blobs each owner has a sixteenth, and so has each peer that brings some of a job it has no part in.
GUESTS_PART: Final = 4
# Log segments that came before their predecessor: 100 bytes each are remembered. A hundred seconds of a busy grantor.
LOG_AHEAD_MAX: Final = 1024
# Results that found no grantor: 4,096 rows a job, no more bytes than a worker would hold, and a worker's share of them.
ORPHANS_PER_JOB_MAX: Final = 4096
ORPHANS_PER_WORKER_MAX: Final = ORPHANS_PER_JOB_MAX // 4
# What waits for one session that is being dialled.
LINE_WAITING_MAX: Final = 65_536
LINE_WAITING_BYTES_MAX: Final = 64 << 20
# Half by round trip, a quarter by id, a quarter by chance: lone clusters of near peers stay connected.
NEIGHBOURS_BY_RTT: Final = NEIGHBOURHOOD_MAX // 2
NEIGHBOURS_BY_ID: Final = NEIGHBOURHOOD_MAX // 4
# Whom it may choose from: 150 bytes each.
NEIGHBOUR_CANDIDATES_MAX: Final = 512
NEIGHBOURHOOD_S: Final = 30.0
# 12 peers a hop (fanout 3, four rounds): an advert and a suspicion reach some 150 peers, those who share a neighbour.
# With one hop more an advert reached 1,700: 170 a second at each peer where every load changes each 10 s.
ADVERT_HOPS: Final = 2
MEMBER_HOPS: Final = 2
ADVERT_AGAIN_S: Final = 300.0  # where few are known

# --- The control socket of one peer ----------------------------------------------------------------------------------
# Requests are 20 to 200 bytes. 16 connections of one request each: 64 KiB; who says nothing for 30 s is hung up on.
CONTROL_REQUEST_BYTES_MAX: Final = 4096
CONTROL_CONNECTIONS_MAX: Final = 16
CONTROL_IDLE_S: Final = 30.0
# 4,096 adverts of at most 2 KB as JSON, twice over.
CONTROL_ANSWER_BYTES_MAX: Final = 16 << 20
# A day of one line a second is 8 MB: the newest 2 MiB are kept, in two files.
LOG_BYTES_MAX: Final = 1 << 20

# --- Settlements ---------------------------------------------------------------------------------------------------
# 256 values of 16 KiB and 4 MiB of output are 8.1 MiB; a log segment of one such page still fits one message of 16 MiB.
RESULT_PAGE_BYTES_MAX: Final = 12 << 20

# --- What waits for sessions to take it ------------------------------------------------------------------------------
# Messages whose pages the machines hold anyway: 64 segments of tasks at 4 MiB. Nobody cuts more while 32 MiB wait.
OUTBOX_BYTES_MAX: Final = 256 << 20
CONGESTED_BYTES: Final = 32 << 20
# 200 bytes each: 13 MB. Of what a peer asked for and does not read, a sixteenth, read from disk when there is room.
OUTBOX_ITEMS_MAX: Final = 65_536
OUTBOX_ANSWERS_MAX: Final = 4096
# How long what nobody waits for may wait for company: a fifth of what a settlement may take to be logged.
PATIENCE_S: Final = 0.02

# --- Large values above the blob layer --------------------------------------------------------------------------------
# A buffer or an argument of this size travels as a part of its own: hashing and sealing it cost 30 us, the reference to
# it 80 bytes. Below, one more blob would cost more than the copy it saves.
PART_BYTES: Final = 64 << 10
# Parts of one task: a model's largest layers. What is more goes into the pickle, which is then one blob.
TASK_PARTS_MAX: Final = 64
# Blobs that one page names: functions, arguments and parts together; 80 bytes each are 40 KiB of it, and eight such
# pages fill what a segment can name.
PAGE_BLOBS_MAX: Final = 512
# What one task's arguments may come to on a peer, which holds all of them in memory: no more than the largest blob.
ARGUMENTS_BYTES_MAX: Final = BLOB_BYTES_MAX
# Opened values that a peer shares with its workers in memory and that no batch uses: the next batch is likely to. What
# batches use comes on top, a slot's two at a time. One open file each: a quarter of what a process may have by default.
SHARED_BYTES_MAX: Final = 256 << 20
SHARED_FILES_MAX: Final = 256
# Names (100 bytes each) of values that were shared before: who comes again is likely to come a third time.
SHARED_SEEN_MAX: Final = 1024
# Memory that arguments lie in: up to 4 MiB each; or lay in: 64 pieces at most. Two descriptors each are 192 more.
USED_SLABS_MAX: Final = 64
SPARE_SLABS_BYTES_MAX: Final = 32 << 20
# Values that one worker keeps open or loaded between batches, beside those that its batch needs.
WORKER_PARTS_BYTES_MAX: Final = 64 << 20
# Memory in which one worker puts large results for its peer: eight of 1 MiB on their way. 64 workers are half a
# gigabyte at the very worst; a worker whose results are small has none.
LANDING_BYTES: Final = 8 << 20
# Scattered values of one job that are sent ahead to a peer which joins it; older ones come with the first task.
PLACED_MAX: Final = 1024

# --- What a submitting program holds ---------------------------------------------------------------------------------
# Pickled arguments of tasks that wait or run, and what each task keeps beside them: a future of 140 bytes, its place in
# a table, a tuple and the pickle's own header (*measured* 319). 512 MiB are 1.5 million no-ops, 5,000 of 100 KB.
QUEUE_BYTES: Final = 512 << 20
CALL_BYTES: Final = 320
# Items of a map are taken in, and travel, in blocks of at most so many: 2,048 pickled integers are 10 KB.
MAP_BLOCK_ITEMS: Final = 2048
# Requests that one message answers: 64 segments that were put off together (see proving.py), four times over.
ANSWERS_TOGETHER_MAX: Final = 256

# --- Bulk: what somebody waits for goes first -------------------------------------------------------------------------
# Copies for those who keep a job wait while others wait for data, but no longer than this: a submitter that dies takes
# at most a second of its copies with it, and tasks that are handed to no peer by then.
LATER_S: Final = 1.0
# Nobody has waited for data for so long: two turns of a busy loop.
QUIET_S: Final = 0.05
# What may wait in this way for one peer, and on a program's own node before it cuts no more tasks: two seconds of a
# fast network.
LATER_ITEMS_MAX: Final = 4096
LATER_BYTES_MAX: Final = 256 << 20
# Blobs that are in memory and not on disk. Above the first, those that need no disk (their job does, for a while) go
# there all the same, in their turn; above the second at once, and whoever brings more waits for the disk.
HELD_BYTES: Final = 64 << 20
HELD_BYTES_MAX: Final = 128 << 20
# A program's own node has no disk that outlives it: arguments and results of its tasks stay in memory up to here.
VOLATILE_BYTES_MAX: Final = 512 << 20

# --- What many share a key of: provider records, contents ------------------------------------------------------------
# What a provider may say beside where it is (which parts it has): a bitmap of 512 chunks.
PROVIDER_VALUE_BYTES_MAX: Final = 64
# The largest has 160 bytes, later versions may add fields: two of this size fit the first page beside eight contacts,
# so that one padded entry cannot keep a page from holding any.
PROVIDER_BODY_BYTES_MAX: Final = 256
# Who provides says so anew each hour, for three: two rounds may fail, and who died is forgotten within three hours.
PROVIDER_RETENTION_S: Final = 3 * 3600.0
PROVIDER_RETENTION_S_MAX: Final = 86400.0
# At most 264 bytes each: one key costs a holder 17 KB, and 64 holders are more than a reader can download from at once.
PROVIDERS_PER_KEY_MAX: Final = 64
# A rack that holds one blob: eight of it are enough to download from, and 56 places are left for others.
PROVIDERS_PER_KEY_AND_GROUP_MAX: Final = 8
# Entries that another than the provider brought, by who brought it: all that one honest holder may hand over.
PROVIDERS_HEARSAY_PER_GROUP_MAX: Final = PROVIDERS_PER_KEY_MAX // 2
# 600 bytes each in memory: 79 MB. Of that a sixteenth for one peer, a tenth for one network.
PROVIDERS_MAX: Final = 1 << 17
PROVIDERS_PER_OWNER_MAX: Final = PROVIDERS_MAX // 16
PROVIDERS_PER_GROUP_MAX: Final = PROVIDERS_MAX // 10
# What this peer's program provides, told again each hour: 4,096 puts are one a second.
PROVIDED_MAX: Final = 4096
# What a reader remembers of what holders named, and how many signatures it checks for one answer: 256 cost 14 ms.
PROVIDERS_HEARD_MAX: Final = 1024
PROVIDERS_WANTED: Final = 16
PROVIDERS_WANTED_MAX: Final = PROVIDERS_PER_KEY_MAX
PROVIDERS_CHECKED_MAX: Final = 256
# Entries of one datagram: the smallest are 180 bytes.
PROVIDERS_PER_DATAGRAM_MAX: Final = 6
# Beside entries there is room for so many contacts: 8 over IPv6 are 352 bytes, and two of the largest entries 546.
CONTACTS_WITH_PROVIDERS_MAX: Final = 8
# A content that nobody signs stands for no owner who pays: its sender and the sender's network pay, and a week is the
# most that one put buys.
CONTENT_BYTES_MAX: Final = RECORD_VALUE_BYTES_MAX
CONTENT_RETENTION_S_MAX: Final = RETENTION_S
CONTENTS_MAX: Final = RECORDS_MAX // 4
CONTENTS_PER_SENDER_MAX: Final = RECORDS_PER_OWNER_MAX // 4
CONTENTS_PER_GROUP_MAX: Final = CONTENTS_MAX // 10

# --- Blobs of any size ------------------------------------------------------------------------------------------------
# A chunk and its seal are one frame of a session (FRAME_PART_BYTES), and both fit a processor's L2 cache.
CHUNK_BYTES: Final = 256 << 10
CHUNK_BYTES_MIN: Final = 4 << 10
# A nonce of 12 bytes and a tag of 16.
CHUNK_SEAL_BYTES: Final = 28
# What one peer keeps as a whole: 1,024 chunks are 256 MiB, named by 32 KiB. A peer that is lost is replaced in pieces
# of that size, by as many peers as there are pieces; hashing one again after a crash takes 50 ms.
MANIFEST_CHUNKS_MAX: Final = 1024
MANIFEST_BYTES_MAX: Final = 32 * MANIFEST_CHUNKS_MAX + 64
# 65,536 sections are 16 TiB; their list is 2.6 MB.
BLOB_SECTIONS_MAX: Final = 1 << 16
# Sections that a peer keeps: 2 files each, 1 KB of memory beside the manifest's 32 bytes a chunk.
DEPOSITS_MAX: Final = 1 << 15
DEPOSITS_PER_OWNER_MAX: Final = DEPOSITS_MAX // 2
# Sections that are being brought by one peer at a time: one open file each.
DEPOSITS_UNFINISHED_MAX: Final = 256
DEPOSITS_UNFINISHED_PER_SOURCE_MAX: Final = 32
# Key (32), a file's name (255 at most) and the seal.
DEPOSIT_NOTE_BYTES_MAX: Final = 384
# Of the disk that is given to others: what public blobs may take, and of that what one owner may.
DEPOSIT_DISK_SHARE: Final = 0.6
DEPOSIT_OWNER_SHARE: Final = 0.5
# Who keeps a section, as told in one message: 48 bytes each.
HOLDERS_MAX: Final = 32
# Peers that others named as holders and that have not said so themselves: each is dialled once, within a minute.
NAMED_HOLDERS_MAX: Final = 1024
# Sections compared in one message between two who keep some: 32 bytes each.
COMPARED_MAX: Final = 1024

# --- Those who keep a job -------------------------------------------------------------------------------------------
# Jobs compared in one message: 20 bytes each. Answered with 30 bytes a log, the newest of each job: 500 KB at the most.
RECOUNTED_MAX: Final = 256
RECOUNTED_LOGS_MAX: Final = 64
# Others that keep a job, as far as they are remembered: twice as many as its owner may name. 150 bytes each.
KEEPERS_MAX: Final = 2 * STEWARDS_MAX
# Jobs on their way to other peers at a time, one segment of at most 4 MiB of each.
PASSED_AT_ONCE: Final = 2
# Jobs that are looked at in one go: to find who is nearest to one costs a millisecond where a thousand are known.
LOOKED_AT_ONCE: Final = 64

# --- Lookups that trust nobody --------------------------------------------------------------------------------------
# Disjoint paths of one lookup; docs/architecture.md, "A lookup trusts no single peer", has what more or fewer give.
LOOKUP_PATHS: Final = 3
# Of one network group, as long as others can be asked: as many as in a bucket.
GROUP_PEERS_IN_LOOKUP_MAX: Final = GROUP_PEERS_IN_BUCKET_MAX
# A stranger is given twice what a first exchange takes: three trips of 167 ms, the other side of the world.
RTO_STRANGER_S_MAX: Final = 1.0
# A peer that computes may be deaf for half a second; what is held against it for half a minute takes twice that.
VERDICT_S_MIN: Final = 1.0
# So many of the nearest to a record's key have to answer where one of them gave it: most of the eight that keep it.
# That all six lie where a fifth of a swarm does is one chance in 15,000.
READ_PEERS: Final = 6
# A timer that rings so late was held up by a busy event loop, and so was whatever came meanwhile.
STALL_S: Final = 0.01

# --- What is left of a damaged disk -----------------------------------------------------------------------------------
# Rows that are set aside for their owner to look at, and bytes of each column: 64 MiB at worst.
DAMAGED_ROWS_MAX: Final = 1024
DAMAGED_BYTES_MAX: Final = 32 << 10

# --- Whom a peer looks for --------------------------------------------------------------------------------------------
# The dead of a day, 150 bytes each: both halves of a swarm that was cut in two remember enough of the other.
LOST_PEERS_MAX: Final = 256

# --- Repair of what holders of the DHT hold ---------------------------------------------------------------------------
# Who died or joined counts where it is among so many nearest to us: those who hold a key with us are among some 16, and
# where three of four peers do not store, among 64.
REPAIR_NEAR_PEERS: Final = 8 * RECORD_COPIES
# Deaths and joins are looked at together: a lookup's failures come at once. A restart may have ended by then, too.
REPAIR_WAIT_S: Final = 3.0
# A thousandth of a second for 64 keys, every 20 ms: 5 % of a core, and all of 100,000 records within half a minute.
REPAIR_KEYS: Final = 64
REPAIR_STEP_S: Final = 0.02
# Who holds a key and is nearest to it speaks first; the next waits for so long, and finds that it need not.
REPAIR_RANK_S: Final = 2.0
# What a join moves: 50 records a second are 60 KB/s to one newcomer, and 1.3 million in an hour of eight holders' work.
MOVES_PER_S: Final = 50.0
MOVES_MAX: Final = RECORDS_MAX
# A copy that nearer peers make superfluous is given up when they still hold theirs so much later.
SURPLUS_S: Final = 600.0
# A peer that leaves: how long at most, how long without any answer, and how many puts at a time.
HANDOVER_S: Final = 3.0
HANDOVER_SILENT_S: Final = 0.5
HANDOVER_PUTS_MAX: Final = 64

# --- Whether strangers reach us ---------------------------------------------------------------------------------------
# Three are asked and two that agree decide: one liar, or one whose own way out is blocked, decides nothing.
REACH_HELPERS: Final = 3
REACH_AGREE: Final = 2
# By then a peer that joins has met some others; where there are too few to ask, it looks again so much later.
REACH_FIRST_S: Final = 5.0
REACH_FEW_S: Final = 30.0
# What others said did not decide: once more within two minutes, for a helper dials the same peer once a minute only.
REACH_AGAIN_S: Final = 60.0
REACH_AGAIN_S_MAX: Final = 120.0
# Nobody's firewall changes more often; who is found unreachable wants its role back sooner. A dozen datagrams a check.
REACH_EVERY_S: Final = 900.0
REACH_EVERY_S_MAX: Final = 3600.0
REACH_HIDDEN_S: Final = 300.0
REACH_HIDDEN_S_MAX: Final = 900.0
# A connection takes one round trip, and a lost first packet a second more; what is asked is repeated after that.
DIAL_BACK_S: Final = 3.0
REACH_REPEAT_S: Final = 4.0
REACH_ROUND_S: Final = 9.0
# What a helper does for others: one dial a minute for each, a burst of eight and one a second for all.
DIAL_BACK_WAIT_S: Final = 60.0
DIAL_BACKS_PER_S: Final = 1.0
DIAL_BACKS_MAX: Final = 8
# Datagrams from another port, in case one is lost.
KNOCKS: Final = 2

# --- What an owner may ask for a job ----------------------------------------------------------------------------------
# Twenty-one steps are more than anybody tells apart.
PRIORITY_MAX: Final = 10
# Ten years, which is what "for ever" is for a deadline or for a job that waits for tasks.
WAIT_S_MAX: Final = 10.0 * 365 * 86_400

# --- rings beside sessions: the bytes of blobs between peers of one machine ----------------------------------------

# A ring holds four of the largest parts. Its taker tells by three eighths what it took: what is not told then, what is
# left free at the ring's end and the next part have room together. 16 rings to give from are 128 MiB.
RING_BYTES: Final = 8 << 20
RING_PART_BYTES: Final = RING_BYTES // 4
RING_TOLD_BYTES: Final = RING_BYTES // 8 * 3
# Rings to give from and, apart from those, rings to take from, places for them included.
RINGS_MAX: Final = 16
# A smaller part costs less within the session than to be told of twice.
RING_FROM_BYTES: Final = 32 << 10
# A ring that was not used for so long, or was never accepted, goes: its memory is real, and 6 ms to have again.
RING_IDLE_S: Final = 30.0
RING_TOKEN_BYTES: Final = 16
RING_NAME_BYTES_MAX: Final = 64
# Anybody on the machine can send to a place; the system queues at most 512 there, mostly ten.
RING_PLACE_DATAGRAMS_MAX: Final = 16

# --- Results that are arguments of other tasks ------------------------------------------------------------------------
# One page names so many tasks whose results its own take, 5 bytes each; one task at most TASK_PARTS_MAX of them.
PAGE_INPUTS_MAX: Final = 1024
# What is leased at a time names so many, and holds so much of them inline: 64 of 16 KiB, which one task may take, and
# more. One message says a quarter of them.
LEASE_INPUTS_MAX: Final = 4096
LEASE_INPUTS_BYTES_MAX: Final = 4 << 20
INPUTS_AT_ONCE_MAX: Final = 1024
INPUTS_AT_ONCE_BYTES: Final = 1 << 20
INPUT_HOLDERS_MAX: Final = 4
# Leases of one job at a worker that are announced by their inputs and have not come: they follow at once.
INPUTS_PENDING_MAX: Final = 2
# Receipts that a grantor remembers for tasks that will name their results; older ones it reads from its log.
INPUT_RECEIPTS_MAX: Final = 256
INPUT_RECEIPTS_BYTES_MAX: Final = 4 << 20
