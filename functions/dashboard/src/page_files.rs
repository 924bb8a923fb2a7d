//! The files of the page. `cargo xtask page` makes this list; change `page/src` instead.

use crate::page_file::PageFile;

pub(crate) const PAGE_FILES: &[PageFile] = &[
    PageFile {
        name: "chart-f6f23d87c7f5.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: include_bytes!("../../../page/dist/chart-f6f23d87c7f5.js.gz"),
    },
    PageFile {
        name: "icon-31f30bd73ff9.svg",
        media_type: "image/svg+xml",
        gzip: include_bytes!("../../../page/dist/icon-31f30bd73ff9.svg.gz"),
    },
    PageFile {
        name: "index.html",
        media_type: "text/html; charset=utf-8",
        gzip: include_bytes!("../../../page/dist/index.html.gz"),
    },
    PageFile {
        name: "licenses-0a28abecb5b8.txt",
        media_type: "text/plain; charset=utf-8",
        gzip: include_bytes!("../../../page/dist/licenses-0a28abecb5b8.txt.gz"),
    },
    PageFile {
        name: "main-0572cb478b55.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: include_bytes!("../../../page/dist/main-0572cb478b55.js.gz"),
    },
    PageFile {
        name: "main-cfb3add8132d.css",
        media_type: "text/css; charset=utf-8",
        gzip: include_bytes!("../../../page/dist/main-cfb3add8132d.css.gz"),
    },
];
