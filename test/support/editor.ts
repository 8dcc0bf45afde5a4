import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))
const doors = fs.readdirSync(path.join(root, "src")).filter((file) => file.endsWith(".ts"))
const program = path.join(root, "test", "program.ts")

/** What an editor knows of one program text that imports the library. */
export class Editor {
  private text = ""
  private version = 0
  private readonly service: ts.LanguageService

  constructor() {
    const config = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile)
    const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root)
    const read = (file: string) => (file === program ? this.text : ts.sys.readFile(file))
    const host: ts.LanguageServiceHost = {
      getCompilationSettings: () => ({ ...options, noUnusedLocals: false, noUnusedParameters: false }),
      getScriptFileNames: () => [program, ...doors.map((door) => path.join(root, "src", door))],
      getScriptVersion: (file) => (file === program ? String(this.version) : "1"),
      getScriptSnapshot: (file) => {
        const text = read(file)
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
      },
      getCurrentDirectory: () => root,
      getDefaultLibFileName: ts.getDefaultLibFilePath,
      useCaseSensitiveFileNames: () => true,
      fileExists: (file) => file === program || ts.sys.fileExists(file),
      readFile: read,
      directoryExists: ts.sys.directoryExists,
      getDirectories: ts.sys.getDirectories
    }
    this.service = ts.createLanguageService(host)
  }

  open(text: string): void {
    this.text = text
    this.version++
  }

  /** The compiler's errors, each with the line that it is shown at. */
  errors(): ReadonlyArray<{ readonly at: string; readonly message: string }> {
    return this.service.getSemanticDiagnostics(program).map(({ messageText, start = 0 }) => ({
      at: this.text.slice(start).split("\n")[0] ?? "",
      message: ts.flattenDiagnosticMessageText(messageText, "\n")
    }))
  }

  /** What is shown over the first place of `word`. */
  hover(word: string): { readonly type: string; readonly documentation: string } {
    const shown = this.service.getQuickInfoAtPosition(program, this.text.indexOf(word))
    return {
      type: ts.displayPartsToString(shown?.displayParts).replace(/\s+/g, " "),
      documentation: ts.displayPartsToString(shown?.documentation)
    }
  }

  /** The names of public functions one of whose signatures has no documentation in an editor. */
  undocumented(): ReadonlyArray<string> {
    const found = this.service.getProgram()
    const checker = found?.getTypeChecker()
    if (found === undefined || checker === undefined) throw new Error("there is no program")
    const seen = new Set<ts.Symbol>()
    const visit = (symbol: ts.Symbol, name: string): ReadonlyArray<string> => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      if (seen.has(target)) return []
      seen.add(target)
      if (target.flags & ts.SymbolFlags.ValueModule) {
        return checker.getExportsOfModule(target).flatMap((member) => visit(member, `${name}.${member.name}`))
      }
      const declared = target.valueDeclaration
      if (declared === undefined || !declared.getSourceFile().fileName.startsWith(path.join(root, "src"))) return []
      if (ts.getJSDocTags(declared).some(({ tagName }) => tagName.text === "internal")) return []
      const signatures = checker.getTypeOfSymbolAtLocation(target, declared).getCallSignatures()
      const isBare = (signature: ts.Signature) => signature.getDocumentationComment(checker).length === 0
      // Of several signatures an editor shows the documentation of the one that is called, and of none the symbol's.
      const isSilent =
        signatures.length > 1
          ? signatures.some(isBare)
          : signatures.length === 1 && target.getDocumentationComment(checker).length === 0 && signatures.some(isBare)
      return isSilent ? [name] : []
    }
    return doors.flatMap((door) => {
      const module = checker.getSymbolAtLocation(found.getSourceFile(path.join(root, "src", door)) as ts.SourceFile)
      if (module === undefined) throw new Error(`there is no door ${door}`)
      return checker.getExportsOfModule(module).flatMap((member) => visit(member, member.name))
    })
  }
}
