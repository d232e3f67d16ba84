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
# 8 bytes (+2) per digest entry: 100 entries are 1,000 bytes.
RUMOR_DIGESTS_MAX: Final = 100
# The datagrams that wait between the socket and the machines: 2,048 of at most 1,200 bytes are 2.4 MB.
INBOX_DATAGRAMS_MAX: Final = 2048

# --- Sessions (bulk plane) ----------------------------------------------------------------------------------------
FRAME_BYTES_MAX: Final = 1 << 20
# A segment of at most 4 MiB of tasks plus its digests, or a log segment of at most 4 MiB, fits one message.
MESSAGE_BYTES_MAX: Final = 16 << 20
SESSIONS_MAX: Final = 512

# --- Jobs ---------------------------------------------------------------------------------------------------------
SEGMENT_TASKS_MAX: Final = 4096
SEGMENT_BYTES_MAX: Final = 4 << 20
# A page is the unit of encryption and of leasing bytes: small enough that sending a whole page for one of its tasks
# at the tail costs little, large enough that hashing and sealing cost under 0.2 us a task.
PAGE_TASKS_MAX: Final = 64
PAGE_BYTES_MAX: Final = 1 << 20
PAGES_PER_SEGMENT_MAX: Final = SEGMENT_TASKS_MAX
# Arguments, functions and results above this are blobs.
INLINE_BYTES_MAX: Final = 16 << 10
LOG_SEGMENT_BYTES_MAX: Final = 4 << 20
LOG_SEGMENT_WAIT_S: Final = 0.1
LOG_HEAD_WAIT_S: Final = 1.0
# 40 bytes a steward's contact and key and 80 a wrapped job key: a spec stays far below one message.
STEWARDS_MAX: Final = 16
STEWARDS: Final = 5
REPLICAS_MAX: Final = 16
TASKS_PER_JOB_MAX: Final = 1 << 40
BATCH_TASKS_MAX: Final = 4096
BLOB_BYTES_MAX: Final = 1 << 32
BLOB_PART_BYTES: Final = 256 << 10
RETENTION_S: Final = 7 * 86400
RETENTION_S_MAX: Final = 366 * 86400
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
JOBS_PER_PEER_MAX: Final = 4096
RECORDS_MAX: Final = 100_000
RECORDS_PER_OWNER_MAX: Final = 4096
RECORD_RETENTION_S_MAX: Final = RETENTION_S_MAX
# A record's signed times may be off by this much: clocks of volunteers are.
CLOCK_TOLERANCE_S: Final = 600.0

# --- Sessions: handshake, frames, connections ----------------------------------------------------------------------
# Message 2 is the largest: 32 e + 48 s + 16 tag + 60 profile = 156; the rest is room for fields of later versions.
HANDSHAKE_BYTES_MAX: Final = 512
# Small messages share a frame up to here; 64 KiB of 100-byte messages are 640, sealed for 2 ns each.
FRAME_BATCH_BYTES: Final = 64 << 10
# A large message is cut into parts of this size: sealing, sending and opening overlap, and a part stays in the L2 cache.
FRAME_PART_BYTES: Final = 256 << 10
# A message has at most 16 MiB / 16 KiB = 1,024 parts to remember.
FRAME_PART_BYTES_MIN: Final = 16 << 10
HALF_OPEN_MAX: Final = 64
HALF_OPEN_PER_HOST_MAX: Final = 16
MESSAGE_1_WAIT_S: Final = 2.0
HANDSHAKE_WAIT_S: Final = 5.0
# Unread by the other end: 16 of the largest log segments. A sender looks at ``Session.writable`` long before.
SESSION_UNSENT_BYTES_MAX: Final = 64 << 20
SESSION_UNSENT_BYTES_HIGH: Final = 4 << 20
# Delivered messages that the consumer holds: reading pauses above this, one session's largest message may overshoot it.
SESSION_HELD_BYTES_MAX: Final = 8 << 20
# Incomplete messages of all sessions together: two of the largest, or some dozen honest transfers at a time.
SESSIONS_PENDING_BYTES_MAX: Final = 32 << 20
SESSION_LINGER_S: Final = 2.0
