/* Tradewind's engine as a C library: docs/c-library.md. Made from crates/c; do not edit. */

#ifndef TRADEWIND_H
#define TRADEWIND_H

#include <stddef.h>
#include <stdint.h>

/* What tw_open returns. */
typedef struct tw tw;

/* The version of this interface. It changes when something is taken away or means something else. */
#define TW_ABI 1

/* Most nodes of an answer. */
#define TW_NODES 8

/* As much room as the texts of an answer may take: the longest target in its normal form, and eight nodes. */
#define TW_ROOM 65536

/* The nodes to use stand in the answer, best first. */
#define TW_ROUTE 0

/* The request goes to no node: answer with the status and the reason that stand in the answer. */
#define TW_REFUSE 1

/* Nothing is decided, for there is no copy: do as without Tradewind. Only with `without_copy: balance`. */
#define TW_BALANCE 2

/* The policy looks at headers that the query has not: ask again, with those that `asks` names and the answer's `reads`. */
#define TW_AGAIN 3

/* This process was forked off the one that opened the handle, and nobody follows the sidecar here: open another. */
#define TW_FORKED -1

/* The texts of the answer do not fit into the room: give it `TW_ROOM` bytes. */
#define TW_TOO_SMALL -2

/* A pointer is null that must not be, or a struct says no size that it can have. */
#define TW_MISUSED -3

/* What was told cannot be read, and nothing of it is taken; `why` says what is wrong. */
#define TW_UNREADABLE -4

/* Bytes that belong to whoever passes them, of any encoding and without a null at their end. `at` may be null where `len` is 0. */
typedef struct {
  /* The first byte. */
  const char *at;
  /* How many there are. */
  size_t len;
} tw_text;

/* A name and a value. */
typedef struct {
  /* The name. */
  tw_text name;
  /* The value. */
  tw_text value;
} tw_pair;

/* A request to decide. Set all of it to zero, then `size`, then what is known. */
typedef struct {
  /* `sizeof(tw_query)`. */
  size_t size;
  /* The `Host` header or the authority. */
  tw_text host;
  /* The target as the client wrote it, with what follows `?`. */
  tw_text path;
  /* The method; empty stands for GET. */
  tw_text method;
  /* The client's address. What is no address is a client nobody knows. */
  tw_text client;
  /* Names the request in what is kept of it; may be empty. */
  tw_text request_id;
  /* Every line of every header that the last answer with `TW_AGAIN` named, and of others as well if that is easier. */
  const tw_pair *headers;
  /* How many lines. */
  size_t headers_len;
  /* The `reads` of the answer that named the headers that were looked for; 0 for none. */
  uint64_t reads;
  /* Ids of nodes that this request was sent to already, which are not named again. */
  const tw_text *tried;
  /* How many. */
  size_t tried_len;
} tw_query;

/* A node to use. */
typedef struct {
  /* Where to connect to, `HOST:PORT`. */
  tw_text address;
  /* Its id. */
  tw_text id;
} tw_node;

/* What is decided. Its texts lie in the room that was passed beside it, or in the query, and are good for as long as those are. */
typedef struct {
  /* `sizeof(tw_answer)`: set it before each call. */
  size_t size;
  /* Which headers the policy looks at, as a number; 0 for none. Pass it on with the next query. */
  uint64_t reads;
  /* Counts policies and topologies that took effect at the sidecar; 0 without a copy. */
  uint64_t revision;
  /* The HTTP status to answer with, where no node is to be used. */
  uint32_t status;
  /* In how many seconds the client should come back, with that status; 0 for nothing to say. */
  uint32_t retry_after_s;
  /* How many of the nodes may be tried. */
  uint32_t attempts;
  /* How long to wait for each, in ms; 0 for as long as the proxy would by itself. */
  uint32_t attempt_timeout_ms;
  /* Names the decision where it is told how it went; empty where the sidecar was never there to say how. */
  tw_text decision;
  /* Why no node is to be used, in one word. */
  tw_text reason;
  /* What to ask nodes for: the target in its one normal form, which rules saw. Empty for `path` as it was given. */
  tw_text target;
  /* The version of the object, for the keys of caches: `x-tradewind-version`; empty for none. */
  tw_text version;
  /* What caches stored longer ago is to be revalidated, in seconds: `x-tradewind-max-age`; empty for nothing. */
  tw_text max_age;
  /* How long caches may keep the object, in seconds: `x-tradewind-cache-ttl`; empty for what its origin says. */
  tw_text cache_ttl;
  /* `unknown` while not all purges may be known here: `x-tradewind-freshness`; else empty. */
  tw_text freshness;
  /* With `TW_AGAIN`: the names of the headers to look for, in lower case, with commas between them. */
  tw_text asks;
  /* How many nodes there are. */
  size_t nodes_len;
  /* The nodes, best first. */
  tw_node nodes[TW_NODES];
} tw_answer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* The version of this interface, to compare with `TW_ABI`. */
uint32_t tw_abi(void);

/* Whether options are good, which starts nothing: 0, or `TW_UNREADABLE`, and `why` has all that is wrong with them, cut to `room`
   bytes, the null at its end among them. To be called where the proxy's configuration is looked at. */
int tw_check(tw_text options,
             char *why,
             size_t room);

/* Begins to follow a sidecar, on a thread of the library's own: to be called in the process that asks, after it was forked off.
   `options` are a JSON object; `docs/c-library.md` has its fields. Null where they are no good, or no thread can be begun, and `why`
   is as of `tw_check`. All handles of a process that name the same sidecar share its follower. */
tw *tw_open(tw_text options,
            char *why,
            size_t room);

/* Waits until there is a copy to decide from, for `ms` milliseconds at most: 1 if there is one, 0 if not, or what is wrong. The
   only call that waits. */
int tw_wait(const tw *handle,
            uint32_t ms);

/* Decides a request: `TW_ROUTE` and so on, or a negative number for what is wrong with the call. Waits for nothing and may be
   called by any thread. The texts of the answer come to lie in `room`, of `len` bytes; `TW_ROOM` are always enough. */
int tw_decide(const tw *handle,
              const tw_query *query,
              tw_answer *answer,
              char *room,
              size_t len);

/* Tells how the attempts of a request went, in the words that proxies log: `node`, `status`, `decision_id` and so on, which
   `docs/outcomes.md` lists; of several attempts with commas between them, as nginx has them. How many attempts say something of
   a node, or what is wrong; then `why` has it in words. */
int tw_told(const tw *handle,
            const tw_pair *fields,
            size_t fields_len,
            char *why,
            size_t room);

/* How it stands, as a JSON object: what was decided, how old the copy is, what was not told. Cut to `room` bytes, the null at its
   end among them; how many bytes there are without it. 0 where nothing can be said. */
size_t tw_standing(const tw *handle,
                   char *to,
                   size_t room);

/* Gives a handle back; no other call may have it then. The last one of a sidecar ends its follower. Where the process was forked
   off the one that opened it, nothing is done. */
void tw_close(tw *handle);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TRADEWIND_H */
