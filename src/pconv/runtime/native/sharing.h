/* Whether the threads share the steps of a sample, or the caller runs them alone.

   Two cores that share no cache bring each other's lines from far, and another program's threads may hold a core: then
   a small model is slower on two threads than on one. Nothing tells that beforehand, so both ways are timed as they
   run: alone for a few runs at first, and again where sharing takes longer than alone it did. While it does, it is
   tried again, more and more seldom. Which way changes no bit of a result. */
#ifndef PCONV_SHARING_H
#define PCONV_SHARING_H

#include <stdbool.h>
#include <stdint.h>

enum { SHARING_RUNS = 15, SHARING_TRIAL = 3, SHARING_PATIENCE = 24 };

/* All zero at first. */
typedef struct {
    int64_t typical[2];           /* nanoseconds of a run that was shared, and of one alone; 0: not known */
    int64_t latest[SHARING_RUNS]; /* of the present way */
    int count;                    /* of them */
    bool alone, trial;            /* the present way, and whether it is for SHARING_TRIAL runs only */
    int wait, patience;           /* SHARING_RUNS runs alone, so many times, until sharing is tried; and from then on */
} sharing;

/* Say how long a run took the present way; the next one may go the other. */
void sharing_took(sharing *, int64_t ns);

#endif
