"""The kit of pages: templates that escape, the style, charts as SVG; a page is one file that fetches nothing."""

from bothways.html.page import Cell, KeyFigure, TableRow, kit, page, shortened, svg, token_name, visible

__all__ = ["Cell", "KeyFigure", "TableRow", "kit", "page", "shortened", "svg", "token_name", "visible"]
