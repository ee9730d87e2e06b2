// Prints the name of each type that Modelina makes of an AsyncAPI document.
import { TypeScriptGenerator } from "@asyncapi/modelina";
import { Parser, fromFile } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
if (!document) {
  console.error(diagnostics.map((found) => found.message).join("\n"));
  process.exit(1);
}
const models = await new TypeScriptGenerator({ modelType: "interface" }).generate(document);
console.log(models.map((model) => model.modelName).join("\n"));
