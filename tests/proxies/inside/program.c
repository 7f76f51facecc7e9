/* A program of C that decides by the library, as a proxy would: `tests/proxies/inside/library.rs` starts it beside a sidecar.

       program OPTIONS MS

   It waits so many ms for a copy. Of each line of its input, `TARGET CLIENT`, it says the verdict and the nodes. A line `told` has it tell that each of the last
   nodes failed but the last one; `fork` shows what a child may do; `count` and `time` decide often; `standing` says how it
   stands. What goes wrong in itself ends it with status 1. */

#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tradewind.h"

/* Allocations of this thread: those of the C library are counted on their way. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static __thread unsigned long allocated;
void *malloc(size_t size) { allocated++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { allocated++; return __libc_calloc(count, size); }
void *realloc(void *at, size_t size) { allocated++; return __libc_realloc(at, size); }

static char room[TW_ROOM];
static char why[2048];

static tw_text text(const char *at) {
  tw_text made = {at, strlen(at)};
  return made;
}

static void must(int holds, const char *what) {
  if (!holds) {
    printf("WRONG %s\n", what);
    exit(1);
  }
}

static int is(tw_text given, const char *wanted) {
  return given.len == strlen(wanted) && memcmp(given.at, wanted, given.len) == 0;
}

static int decide(const tw *handle, const char *target, const char *client, tw_answer *answer) {
  tw_query query;
  memset(&query, 0, sizeof query);
  query.size = sizeof query;
  query.host = text("www.example.com");
  query.path = text(target);
  query.method = text("GET");
  query.client = text(client);
  answer->size = sizeof *answer;
  int verdict = tw_decide(handle, &query, answer, room, sizeof room);
  if (verdict == TW_AGAIN) {
    tw_pair header = {text("Accept"), text("image/avif")};
    must(is(answer->asks, "accept"), "it asks for another header");
    query.headers = &header;
    query.headers_len = 1;
    query.reads = answer->reads;
    verdict = tw_decide(handle, &query, answer, room, sizeof room);
  }
  return verdict;
}

static void misuse(const tw *handle) {
  tw_query query;
  tw_answer answer;
  memset(&query, 0, sizeof query);
  memset(&answer, 0, sizeof answer);
  query.size = sizeof query;
  answer.size = sizeof answer;
  query.path = text("/a");
  must(tw_decide(NULL, &query, &answer, room, sizeof room) == TW_MISUSED, "no handle");
  must(tw_decide(handle, NULL, &answer, room, sizeof room) == TW_MISUSED, "no query");
  must(tw_decide(handle, &query, NULL, room, sizeof room) == TW_MISUSED, "no answer");
  must(tw_decide(handle, &query, &answer, room, 20) == TW_TOO_SMALL, "a small room");
  must(tw_decide(handle, &query, &answer, NULL, sizeof room) == TW_TOO_SMALL, "no room");
  answer.size -= 1;
  must(tw_decide(handle, &query, &answer, room, sizeof room) == TW_MISUSED, "a small answer");
  answer.size += 1;
  query.size = sizeof(size_t);
  must(tw_decide(handle, &query, &answer, room, sizeof room) == TW_MISUSED, "a small query");
  /* As of a program that was built when queries had one field less. */
  query.size = offsetof(tw_query, tried);
  query.tried = (const tw_text *)1;
  query.tried_len = 1;
  must(tw_decide(handle, &query, &answer, room, sizeof room) == TW_ROUTE, "an older query");
  must(tw_wait(NULL, 0) == TW_MISUSED, "nothing to wait for");
  tw_pair odd = {text("nod"), text("127.0.0.1:1")};
  must(tw_told(handle, &odd, 1, why, sizeof why) == TW_UNREADABLE, "an odd field");
  must(strstr(why, "unknown field `nod`") != NULL, why);
  must(tw_told(handle, &odd, 1, NULL, 0) == TW_UNREADABLE, "an odd field, and nobody asks why");
  must(tw_standing(NULL, room, sizeof room) == 0, "nothing stands");
  must(tw_standing(handle, NULL, 0) > 0, "how long it is");
  tw_close(NULL);
}

static void tell(const tw *handle, const tw_answer *last) {
  char nodes[1024] = "", statuses[256] = "", id[64];
  for (size_t at = 0; at < last->nodes_len; at++) {
    size_t used = strlen(nodes), said = strlen(statuses);
    const char *comma = at > 0 ? ", " : "";
    snprintf(nodes + used, sizeof nodes - used, "%s%.*s", comma, (int)last->nodes[at].address.len, last->nodes[at].address.at);
    snprintf(statuses + said, sizeof statuses - said, "%s%s", comma, at + 1 < last->nodes_len ? "502" : "200");
  }
  snprintf(id, sizeof id, "%.*s", (int)last->decision.len, last->decision.at);
  tw_pair fields[] = {
      {text("decision_id"), text(id)}, {text("node"), text(nodes)},
      {text("status"), text(statuses)}, {text("total"), text("0.004")},
  };
  int taken = tw_told(handle, fields, sizeof fields / sizeof *fields, why, sizeof why);
  must(taken == (int)last->nodes_len, why);
  printf("told %d\n", taken);
}

static void in_a_child(const tw *handle, const char *options) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    tw_answer answer;
    must(decide(handle, "/a", "192.0.2.1", &answer) == TW_FORKED, "a child decides by its parent's copy");
    must(tw_wait(handle, 0) == TW_FORKED, "a child waits");
    tw_close((tw *)handle);
    tw *own = tw_open(text(options), why, sizeof why);
    must(own != NULL, why);
    must(tw_wait(own, 20000) == 1, "a child has no copy");
    must(decide(own, "/a", "192.0.2.1", &answer) == TW_ROUTE, "a child does not decide");
    tw_close(own);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  must(waitpid(child, &status, 0) == child && status == 0, "the child");
  printf("forked\n");
}

static void often(const tw *handle, int is_timed) {
  char target[64];
  tw_answer answer;
  unsigned long before = 0;
  struct timespec began, ended;
  const int warm = 1000, times = is_timed ? 1000000 : 20000;
  for (int at = 0; at < warm + times; at++) {
    if (at == warm) {
      before = allocated;
      clock_gettime(CLOCK_MONOTONIC, &began);
    }
    snprintf(target, sizeof target, "/object/%d", at % 400);
    must(decide(handle, target, at % 2 ? "192.0.2.1" : "198.51.100.9", &answer) == TW_ROUTE, "it does not decide");
  }
  clock_gettime(CLOCK_MONOTONIC, &ended);
  if (is_timed) {
    double ns = (ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec);
    printf("a decision takes %.0f ns\n", ns / times);
  } else {
    printf("allocated %lu\n", allocated - before);
  }
}

int main(int count, char **arguments) {
  must(count == 3, "two arguments: the options, and how long to wait");
  must(tw_abi() == TW_ABI, "the header is of another version than the library");
  const char *bad = "{\"sidecar\":\"here\",\"more\":1,\"candidates\":9}";
  must(tw_open(text(bad), why, sizeof why) == NULL, "bad options are taken");
  printf("%s\n", why);
  must(tw_open(text(bad), why, 9) == NULL && strlen(why) == 8, "what is wrong, in nine bytes");
  must(tw_check(text(bad), NULL, 0) == TW_UNREADABLE, "bad options are good");
  must(tw_check(text(arguments[1]), why, sizeof why) == 0, why);
  tw *handle = tw_open(text(arguments[1]), why, sizeof why);
  must(handle != NULL, why);
  printf("copy %d\n", tw_wait(handle, (uint32_t)atoi(arguments[2])));
  fflush(stdout);

  tw_answer answer;
  memset(&answer, 0, sizeof answer);
  char line[20000];
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    char *client = strchr(line, ' ');
    if (strcmp(line, "misuse") == 0) {
      misuse(handle);
      printf("misused\n");
    } else if (strcmp(line, "told") == 0) {
      tell(handle, &answer);
    } else if (strcmp(line, "fork") == 0) {
      in_a_child(handle, arguments[1]);
    } else if (strcmp(line, "count") == 0 || strcmp(line, "time") == 0) {
      often(handle, line[0] == 't');
    } else if (strcmp(line, "standing") == 0) {
      tw_standing(handle, why, sizeof why);
      printf("%s\n", why);
    } else if (client != NULL) {
      *client++ = 0;
      int verdict = decide(handle, line, client, &answer);
      printf("%d", verdict);
      for (size_t at = 0; at < answer.nodes_len; at++)
        printf(" %.*s", (int)answer.nodes[at].address.len, answer.nodes[at].address.at);
      if (verdict == TW_REFUSE) printf(" %u %.*s", (unsigned)answer.status, (int)answer.reason.len, answer.reason.at);
      if (answer.target.len > 0) printf(" as %.*s", (int)answer.target.len, answer.target.at);
      if (answer.version.len > 0) printf(" version %.*s", (int)answer.version.len, answer.version.at);
      printf("\n");
    }
    fflush(stdout);
  }
  tw_close(handle);
  return 0;
}
