import { render } from "preact";
import "./styles/colours.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/chart.css";
import "./styles/table.css";
import { App } from "./app.tsx";
import { applyTheme, theme } from "./shell/theme.ts";

applyTheme(theme());
const root = document.getElementById("console");
if (root) render(<App />, root);
