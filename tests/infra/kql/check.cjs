// Parses queries with the language service that the portal uses, against declared tables.
// In: {"tables": {name: "(column: type, ...)"}, "queries": {name: text}} on standard input.
// Out: {name: {"problems": [text], "columns": {name: type}}}.
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');

const { Symbols, KustoCode, GlobalState } = Kusto.Language;
const items = (list) => Array.from({ length: list.Count }, (_, i) => list.getItem(i));

function check(query, globals) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  const problems = items(code.GetDiagnostics())
    .filter((found) => found.Severity === 'Error' || found.Severity === 'Warning')
    .map((found) => `${found.Code} at ${found.Start}: ${found.Message}`);
  const result = code.ResultType;
  const columns = result && result.Columns ? items(result.Columns).map((column) => [column.Name, column.Type.Name]) : [];
  return { problems, columns: Object.fromEntries(columns) };
}

const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const tables = Object.entries(asked.tables).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('workspace', tables));
const answers = Object.entries(asked.queries).map(([name, query]) => [name, check(query, globals)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
