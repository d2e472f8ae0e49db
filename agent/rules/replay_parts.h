/*
 * replay_parts.h: a replay of history: what it notes down while it runs.
 */
#ifndef AGENT_RULES_REPLAY_PARTS_H
#define AGENT_RULES_REPLAY_PARTS_H

#include "pgvigil/rules/replay_history.h"

struct replay_notes;

/* Names the rules of the set, all of them; those that are left out are taken out of the set later.
 */
struct replay_notes *replay_notes_create(const struct rule_set *set, wall_ms start, wall_ms end);
void replay_notes_destroy(struct replay_notes **notes);
/* The rule looks back too far: from now on the set is without it. */
void replay_notes_leave_out(struct replay_notes *notes, struct rule_set *set, int64_t reach_ms);
void replay_notes_change(struct replay_notes *notes, const struct alert *alert,
                         enum alert_state from, wall_ms at);
/* What the alerts and rules are after a step. */
void replay_notes_step(struct replay_notes *notes, const struct replay *replay, wall_ms at);
void replay_notes_gap(struct replay_notes *notes, wall_ms from, wall_ms to, wall_ms resumed);
/* Hands over what was noted. */
struct replay_outcome *replay_notes_finish(struct replay_notes *notes);

/* How far a rule looks back: its expression's reach; what is pinned by @ counts as none. */
int64_t replay_reach_ms(const struct rule *rule);

#endif
