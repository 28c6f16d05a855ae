/* sharing.h: medians of some runs are compared, so that a run that something else held up decides nothing. */
#include "sharing.h"

static int64_t median(int64_t *values, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && values[j - 1] > values[j]; j--) {
            int64_t larger = values[j - 1];
            values[j - 1] = values[j], values[j] = larger;
        }
    return values[count / 2];
}

void sharing_took(sharing *s, int64_t ns) {
    s->latest[s->count++] = ns;
    if (s->count < (s->trial ? SHARING_TRIAL : SHARING_RUNS)) return;
    int64_t mine = s->typical[s->alone] = median(s->latest, s->count), other = s->typical[!s->alone];
    bool better = mine <= other, tried = s->trial;
    s->count = 0;
    s->trial = false;
    if (s->alone) {
        bool again = better && --s->wait <= 0;
        if (!better || again) s->alone = false;
        s->trial = again;
    } else if (!better) {
        s->alone = true;
        s->trial = other == 0;
        s->patience = tried ? 2 * s->patience : 1;
        if (s->patience > SHARING_PATIENCE) s->patience = SHARING_PATIENCE;
        s->wait = s->patience;
    }
}
