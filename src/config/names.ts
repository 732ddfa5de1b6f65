/** One rule for the names of nodes and clusters: they stand in paths, flags and certificates. */

export const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/;
export const nameRule = '1 to 63 letters, digits, dots, dashes and underscores';
