/** The files of the page. Bundles of this module would move it away from them, so they import it as it is. */
export const pageFolder = new URL("../page/", import.meta.url)
