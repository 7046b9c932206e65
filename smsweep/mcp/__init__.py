"""The MCP server for coding agents: tools with limits that the user sets."""
