// How many bans there may be: apart from their schema, for proxies, which are told of bans and parse none.

/** More bans than this at once in one trust domain are not taken. */
export const MAX_BANS = 4_096;
