/** Texts, quoted names and comments: a semicolon in them ends nothing. */
const opaque = /'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\//g

const trigger = /^\s*CREATE\s+(TEMP\s+|TEMPORARY\s+)?TRIGGER\b/i

/** Throws if statements follow the first: drivers that prepare only the first would leave them out in silence. */
export const refuseSeveral = (sql: string): void => {
  const end = sql.indexOf(";")
  if (end === -1) return
  const bare = sql.replace(opaque, (quoted) => (/^(--|\/\*)/.test(quoted) ? " " : "x"))
  if (/;\s*[^\s;]/.test(bare) && !trigger.test(bare)) {
    throw new RangeError("The supplied SQL string contains more than one statement")
  }
}
