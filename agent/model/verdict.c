/*
 * verdict.c: the words for roles, states and causes, as they stand in metrics, files and pages.
 *
 * Switches without a default: a new value that has no word is a compiler warning.
 */
#include "pgvigil/model/verdict.h"

const char *node_role_name(enum node_role role)
{
    switch (role) {
    case ROLE_UNKNOWN:
        return "unknown";
    case ROLE_PRIMARY:
        return "primary";
    case ROLE_REPLICA:
        return "replica";
    }
    return "unknown";
}

const char *fresh_state_name(enum fresh_state state)
{
    switch (state) {
    case FRESH_UNKNOWN:
        return "unknown";
    case FRESH_FRESH:
        return "fresh";
    case FRESH_STALE:
        return "stale";
    case FRESH_DOWN:
        return "down";
    case FRESH_DIVERGED:
        return "diverged";
    case FRESH_EXCLUDED:
        return "excluded";
    }
    return "unknown";
}

const char *fresh_cause_name(enum fresh_cause cause)
{
    switch (cause) {
    case CAUSE_NONE:
        return "";
    case CAUSE_STARTING:
        return "starting";
    case CAUSE_CATCHING_UP:
        return "catching_up";
    case CAUSE_REPLAY_PAUSED:
        return "replay_paused";
    case CAUSE_LINK_DOWN:
        return "link_down";
    case CAUSE_ABSENT:
        return "absent";
    case CAUSE_DELAYED:
        return "delayed";
    }
    return "";
}

const char *unobservable_name(enum unobservable why)
{
    switch (why) {
    case UNOBSERVABLE_NOT:
        return "";
    case UNOBSERVABLE_LOGIN:
        return "login";
    case UNOBSERVABLE_GRANT:
        return "grant";
    case UNOBSERVABLE_CONFIG:
        return "config";
    case UNOBSERVABLE_NAME:
        return "name";
    case UNOBSERVABLE_SATURATED:
        return "saturated";
    case UNOBSERVABLE_BLIND:
        return "blind";
    case UNOBSERVABLE_STREAMING:
        return "streaming";
    case UNOBSERVABLE_NEVER_SEEN:
        return "never_seen";
    }
    return "";
}
