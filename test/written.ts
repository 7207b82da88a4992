/** Puts a text into the part of a page that a program writes: between `<!-- NAME -->` and `<!-- /NAME -->`. */
export const written = (page: string, name: string, text: string): string => {
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from === -1 || to < from) throw new Error(`the page has no part between ${start.trim()} and ${end}`)
  return page.slice(0, from + start.length) + text + page.slice(to)
}
